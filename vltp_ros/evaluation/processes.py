"""The processes that a launcher, torchrun or accelerate's, starts for one evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vltp_ros.evaluation.expressions import Evaluation
from vltp_ros.evaluation.sharded import Collected, Shard, ShardedRun

PATIENCE = timedelta(days=7)
"""How long processes wait for the slowest; a launcher ends them when one fails."""


def launched_shard() -> Shard | None:
    """Return the part of this process, one of several of a launcher; None for a process alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    return Shard(int(os.environ["RANK"]) + 1, count) if count > 1 else None


def own_device(device: str) -> str:
    """Return the device of this process: on a machine with several GPUs each has its own.

    Args:
        device: as it was given, for all processes.
    """
    if launched_shard() is None or device not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"


def evaluate_shard(
    evaluation: Evaluation,
    shard: Shard,
    directory: Path,
    options: Mapping[str, Any],
    hardware: str,
) -> Collected | None:
    """Measure what a shard lacks, wait for a launcher's other processes, and read all shards.

    Args:
        evaluation: of which the shard is a part.
        shard: of this process.
        directory: of the run, see :class:`ShardedRun`.
        options: what the results depend on, by name.
        hardware: of this process, in words.

    Returns:
        What all shards hold; None in a launcher's other processes, of which the first alone speaks.

    Raises:
        ValueError: for a file of another run, or a damaged one, by name.
        OSError: naming the file, where nothing can be written.
        DataError: as for :meth:`Evaluation.measure`.
    """
    images = [entry.image_id for entry in evaluation.expressions]
    run = ShardedRun(directory, options, images, len(evaluation.settings), shard.count)
    speaks = launched_shard() is None or shard.number == 1
    with _together():
        run.fill(shard, hardware, partial(evaluation.measure, progress=speaks))
    return run.collect() if speaks else None


@contextmanager
def _together() -> Iterator[None]:
    """Leave a ``with`` statement when all processes of the launcher do; at once in one alone.

    An error leaves it without the others, which the launcher then ends.
    """
    if launched_shard() is None:
        yield
        return
    from accelerate import PartialState  # not before: its import takes a second

    state = PartialState(cpu=True, timeout=PATIENCE)  # gloo: nothing but the end is exchanged
    yield
    state.wait_for_everyone()
    state.destroy_process_group()

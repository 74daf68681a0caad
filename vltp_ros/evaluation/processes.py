"""An evaluation that the processes of a launcher share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from vltp_ros.evaluation.expressions import Evaluation
from vltp_ros.evaluation.sharded import Collected, Shard, ShardedRun
from vltp_ros.processes import this_process, together


def launched_shard() -> Shard | None:
    """Return the part of this process, one of several of a launcher; None for a process alone."""
    process = this_process()
    return Shard(process.rank + 1, process.count) if process.count > 1 else None


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
    speaks = this_process().is_first
    with together(cpu=True):  # nothing but the end is exchanged
        run.fill(shard, hardware, partial(evaluation.measure, progress=speaks))
    return run.collect() if speaks else None

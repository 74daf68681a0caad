"""Processes that others start, above all a launcher, torchrun or accelerate's, for one command."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

PATIENCE = timedelta(days=7)
"""How long processes wait for the slowest; a launcher ends them when one fails."""


PR_SET_PDEATHSIG = 1  # of Linux's prctl


@dataclass(frozen=True)
class Process:
    """One of the processes that work together."""

    rank: int = 0
    """Its number among them, 0-based."""
    count: int = 1
    """How many there are, on all machines."""

    @property
    def is_first(self) -> bool:
        """Whether this one speaks for all: it alone writes files and prints."""
        return self.rank == 0


ALONE = Process()


def this_process() -> Process:
    """Return which process this is; one that no launcher started is alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    return Process(int(os.environ["RANK"]), count) if count > 1 else ALONE


def refuse_several(command: str) -> None:
    """Raise ValueError where a launcher started several processes for a command that is for one.

    Each would train the same, and write over the others' files.
    """
    if (count := this_process().count) > 1:
        raise ValueError(
            f"a launcher started {count} processes, and {command} runs in one; what trains and "
            "evaluates in several: vltp train, finetune, evaluate --run"
        )


def end_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends, however it does."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was faster
        sys.exit(1)


def own_device(device: str) -> str:
    """Return the device of this process: on a machine with several GPUs each has its own.

    Args:
        device: as it was given, for all processes.
    """
    import torch  # not before: its import takes a second

    if this_process().count == 1 or device not in ("auto", "cuda"):
        return device
    if not torch.cuda.is_available():
        return device
    return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"


@contextmanager
def together(cpu: bool) -> Iterator[None]:
    """Let the processes of a launcher talk, and leave when all do; does nothing in one alone.

    An error leaves at once, without the others, which the launcher then ends. They end with the
    launcher, however it does: they would wait for each other for days.

    Args:
        cpu: whether they exchange tensors in memory, over gloo; else those of their GPUs, over
            NCCL.
    """
    if this_process().count == 1:
        yield
        return
    from accelerate import PartialState  # not before: its import takes a second

    end_with_parent()
    state = PartialState(cpu=cpu, timeout=PATIENCE)
    yield
    state.wait_for_everyone()
    state.destroy_process_group()

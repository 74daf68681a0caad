"""Captures that break on purpose, and what must go on after them.

Run as a script, with the name of one and a device: PyTorch 2.11 never frees the pool of a broken
capture, so each wants a process of its own.
"""

from __future__ import annotations

import logging
import sys

import torch
from torch import Tensor

from vltp_ros.runtime.graphs import CaptureError, GraphRunner


def waits(x: Tensor) -> Tensor:
    """Need the host, which no graph can ask."""
    return x * x.sum().item()


def check_falls_back(device: torch.device) -> None:
    """Check that what waits runs as it is, with one warning, and what was captured replays."""
    recorder = Recorder()
    logging.getLogger("vltp_ros.runtime.graphs").addHandler(recorder)
    runner, x = GraphRunner(device), torch.ones(4, device=device)
    stream = torch.cuda.current_stream()
    expect(runner("double", lambda x: 2 * x, x).sum() == 8, "a graph")
    expect(runner("waits", waits, x).sum() == 16, "what waits")
    expect(runner("waits", waits, 2 * x).sum() == 64, "what waits, again")
    expect(runner("double", lambda x: 2 * x, 2 * x).sum() == 16, "the graph, again")
    expect(runner("treble", lambda x: 3 * x, x).sum() == 12, "a graph after it")
    expect(torch.cuda.current_stream() == stream, "the stream")
    expect(runner.failed and len(runner) == 2 and len(recorder.records) == 1, "one warning")


def check_raises(device: torch.device) -> None:
    """Check that without falling back it is an error."""
    runner = GraphRunner(device, fall_back=False)
    try:
        runner("waits", waits, torch.ones(4, device=device))
    except CaptureError:
        return
    raise AssertionError("no CaptureError")


def check_out_of_memory(device: torch.device) -> None:
    """Check that a capture for which there is no memory costs the graphs, and nothing else."""
    runner, x = GraphRunner(device), torch.ones(4, device=device)
    doubled = runner("double", lambda x: 2 * x, x)
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(2**30 / total)

    def greedy(x: Tensor) -> Tensor:
        return x + torch.zeros(2**30, device=x.device).sum()

    try:
        runner("greedy", greedy, x)
        raise AssertionError("no OutOfMemoryError")
    except torch.OutOfMemoryError:
        pass
    for _ in range(3):
        expect(runner("double", lambda x: 2 * x, x).sum() == 8, "a graph after it")
    expect(doubled.sum() == 8 and len(runner) == 1, "what was answered before")
    torch.cuda.set_per_process_memory_fraction(1.0)
    expect(runner("greedy", greedy, x).sum() == 4, "the same with memory")


def expect(holds: bool | Tensor, what: str) -> None:
    """Raise AssertionError, under python -O too, unless something holds."""
    if not holds:
        raise AssertionError(what)


class Recorder(logging.Handler):
    """Keeps log records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.records.append(record)


CASES = {
    "falls_back": check_falls_back,
    "raises": check_raises,
    "out_of_memory": check_out_of_memory,
}

if __name__ == "__main__":
    case, name = sys.argv[1:]
    with torch.inference_mode():
        CASES[case](torch.device(name))

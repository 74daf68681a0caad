"""Captures that break on purpose; run as a script, with the name of one."""

from __future__ import annotations

import logging
import sys

import torch

from vltp_ros.runtime.graphs import CaptureError, GraphRunner

DEVICE = "cuda"


def waits(x):
    """Needs the host, which no graph can ask."""
    return x * x.sum().item()


def check_falls_back() -> None:
    """It runs as it is, with one warning; what else was captured still replays."""
    records = []
    logging.getLogger("vltp_ros.runtime.graphs").addHandler(Recorder(records))
    runner, x = GraphRunner(torch.device(DEVICE)), torch.ones(4, device=DEVICE)
    stream = torch.cuda.current_stream()
    assert runner("double", lambda x: 2 * x, x).sum() == 8
    assert runner("waits", waits, x).sum() == 16
    assert runner("waits", waits, 2 * x).sum() == 64
    assert runner("double", lambda x: 2 * x, 2 * x).sum() == 16
    assert runner("treble", lambda x: 3 * x, x).sum() == 12
    assert torch.cuda.current_stream() == stream
    assert runner.failed and len(runner) == 2 and len(records) == 1, records


def check_raises() -> None:
    """Without falling back it is an error."""
    runner = GraphRunner(torch.device(DEVICE), fall_back=False)
    try:
        runner("waits", waits, torch.ones(4, device=DEVICE))
    except CaptureError:
        return
    raise AssertionError("no CaptureError")


def check_out_of_memory() -> None:
    """A capture for which there is no memory costs the graphs, and nothing else."""
    device = torch.device(DEVICE)
    runner, x = GraphRunner(device), torch.ones(4, device=DEVICE)
    doubled = runner("double", lambda x: 2 * x, x)
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(2**30 / total)

    def greedy(x):
        return x + torch.zeros(2**30, device=x.device).sum()

    try:
        runner("greedy", greedy, x)
        raise AssertionError("no OutOfMemoryError")
    except torch.OutOfMemoryError:
        pass
    for _ in range(3):
        assert runner("double", lambda x: 2 * x, x).sum() == 8
    assert doubled.sum() == 8 and len(runner) == 1
    torch.cuda.set_per_process_memory_fraction(1.0)
    assert runner("greedy", greedy, x).sum() == 4


class Recorder(logging.Handler):
    """Keeps log records."""

    def __init__(self, records: list) -> None:
        super().__init__()
        self.emit = records.append


CASES = {
    "falls_back": check_falls_back,
    "raises": check_raises,
    "out_of_memory": check_out_of_memory,
}

if __name__ == "__main__":
    with torch.inference_mode():
        CASES[sys.argv[1]]()

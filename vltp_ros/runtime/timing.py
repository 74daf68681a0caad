"""How long each stage of an inference took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class StageTimes:
    """Times stages in order of execution; a stage that runs twice adds up.

    A GPU is not waited for between stages: events in its queue mark where each begins and ends.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stages: list[tuple[str, float | torch.cuda.Event, float | torch.cuda.Event]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body."""
        start = self._now()
        yield
        self._stages.append((name, start, self._now()))

    def milliseconds(self) -> dict[str, float]:
        """Duration of each stage; waits for a GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        total: dict[str, float] = {}
        for name, start, end in self._stages:
            spent = start.elapsed_time(end) if self.device.type == "cuda" else 1e3 * (end - start)
            total[name] = total.get(name, 0.0) + spent
        return total

    def _now(self) -> float | torch.cuda.Event:
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(self.device))
            return event
        return time.perf_counter()

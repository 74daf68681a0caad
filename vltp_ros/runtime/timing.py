"""Durations of the stages of an inference."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class StageTimes:
    """Times stages in order of execution; a stage that runs twice adds up.

    A GPU is not waited for between stages: events in its queue mark where each begins and ends.
    Stages that run side by side take their time together.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._durations: list[tuple[str, float]] = []  # on a CPU, milliseconds
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []  # on a GPU

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body of a ``with`` statement."""
        if self.device.type == "cuda":
            start_event = self._record_event()
            yield
            self._events.append((name, start_event, self._record_event()))
        else:
            start = time.perf_counter()
            yield
            self._durations.append((name, 1e3 * (time.perf_counter() - start)))

    def milliseconds(self) -> dict[str, float]:
        """Return the duration of each stage, after waiting for the end of the last on a GPU."""
        if self._events:
            self._events[-1][2].synchronize()
        durations = [(name, start.elapsed_time(end)) for name, start, end in self._events]
        total: dict[str, float] = {}
        for name, duration in self._durations + durations:
            total[name] = total.get(name, 0.0) + duration
        return total

    def _record_event(self) -> torch.cuda.Event:
        """Mark the end of the GPU's queue."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

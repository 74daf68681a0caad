"""How long each stage of an inference took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class StageTimes:
    """Milliseconds by stage, in order of execution; a stage that runs twice adds up."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body; a GPU is waited for, so that its work counts where it was asked for."""
        start = self._now()
        yield
        self.milliseconds[name] = self.milliseconds.get(name, 0.0) + (self._now() - start) * 1e3

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

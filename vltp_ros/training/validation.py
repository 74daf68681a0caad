"""Measures a stage on held-out scenes while it trains."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from vltp_ros.training.batches import Source


def no_measure() -> dict[str, float]:
    """Measure nothing beside the losses."""
    return {}


@dataclass(frozen=True)
class Validation:
    """What is measured now and then, and on how much; it changes nothing of a training."""

    source: Source
    """Of the held-out scenes."""
    every: int
    """Steps from one validation to the next, 1 or more; the last step has one too."""
    count: int
    """Scenes whose losses are measured, up to a whole batch."""
    measure: Callable[[], dict[str, float]] = no_measure
    """Returns by name what else is measured, e.g. of the masks; called in evaluation mode."""

    def is_due(self, step: int) -> bool:
        """Return whether to measure after the step of this 0-based number."""
        return (step + 1) % self.every == 0 or step + 1 == self.source.config.steps

    @torch.no_grad()
    def __call__(
        self, stage: nn.Module, autocast: Callable[[], AbstractContextManager]
    ) -> dict[str, float]:
        """Return mean losses and what else is measured, each name with ``val_`` before it.

        Args:
            stage: on the device where it is trained.
            autocast: makes the context in which its losses are computed.
        """
        device = next(stage.parameters()).device
        losses: defaultdict[str, list[float]] = defaultdict(list)
        with evaluating(stage):
            for step in range(math.ceil(self.count / self.source.config.batch)):
                for part in self.source.parts(step):
                    with autocast():
                        measured = stage(part.to(device), step)
                    for name, loss in measured.items():
                        losses[name].append(loss.item())
            means = {name: float(np.mean(values)) for name, values in losses.items()}
            everything = {**means, **self.measure()}
        return {f"val_{name}": round(value, 5) for name, value in everything.items()}


@contextmanager
def evaluating(stage: nn.Module) -> Iterator[None]:
    """Put a stage into evaluation mode; each of its modules then gets back the mode that it had."""
    modes = [(module, module.training) for module in stage.modules()]
    stage.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode

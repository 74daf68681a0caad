"""What passes between the rooms: plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Box = tuple[int, int, int, int]
"""x, y, width, height, pixels; all zero around nothing."""

Odds = tuple[float, float]
"""Slope and offset by which the log odds of a probability become those of being right."""


def calibrated(probability: float, odds: Odds) -> float:
    """Return how likely an answer is right whose raw score is a probability (Platt, 1999)."""
    if odds == (1.0, 0.0):
        return probability
    probability = min(max(probability, 1e-6), 1 - 1e-6)
    slope, offset = odds
    # The logistic function, in a form that cannot overflow.
    logit = math.log(probability / (1 - probability))
    return (1 + math.tanh((slope * logit + offset) / 2)) / 2


@dataclass(frozen=True)
class Segmentation:
    """The answer to one task on one image, at the size of that image."""

    task: str
    levels: np.ndarray  # uint8 [H, W]: probability in steps of 1 / 255
    above: int  # levels above this belong to the mask, 0..255
    area: int  # mask pixels
    box: Box  # around the mask
    score: float  # how likely the answer is right, 0..1, as far as the model is calibrated: from
    # the mean probability inside the mask, or 1 less the highest one when it is empty
    kept: tuple[np.ndarray, ...]  # per pruning stage: bool [gh, gw] over the valid image patches
    times_ms: dict[str, float]  # per stage, in order of execution; the shared ones are not divided
    tokens: tuple[int, ...]  # per pruning stage: tokens that ran, those of the padding included
    seg_age_s: float = 0.0  # from the image on which <SEG> was computed to this one, seconds
    rates: tuple[float, ...] = ()  # share of tokens frozen at each stage, as it was chosen
    csp: str = "off"  # preset of LVLM_CSP, as it was chosen
    odds: Odds = (1.0, 0.0)  # by which a mean probability becomes a score
    unseen_words: tuple[str, ...] = ()  # of the task: those that training is known to have lacked

    @classmethod
    def certain(cls, task: str, mask: np.ndarray, score: float = 1.0, **rest: Any) -> Segmentation:
        """Return an answer without a model: bool [H, W], every pixel of it with probability 1."""
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (0, 0, 0, 0)
        if len(rows):
            x, y = int(columns[0]), int(rows[0])
            box = (x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1)
        levels = mask.astype(np.uint8) * np.uint8(255)
        defaults: dict[str, Any] = {"kept": (), "times_ms": {}, "tokens": ()}
        area = int(np.count_nonzero(mask))
        return cls(task, levels, 127, area, box, score, **defaults | rest)

    @property
    def found(self) -> bool:
        """Whether anything in view serves the task."""
        return self.area > 0

    @property
    def label(self) -> str:
        """The task and how sure the answer is, for pictures; that nothing serves it in words."""
        return f"{self.task}: {'' if self.found else 'nothing here serves this, '}{self.score:.2f}"

    @cached_property
    def mask(self) -> np.ndarray:
        """Where the probability exceeds the threshold, bool [H, W]."""
        return self.levels > self.above

    @cached_property
    def probability(self) -> np.ndarray:
        """How likely each pixel serves the task, float32 [H, W]."""
        return self.levels.astype(np.float32) / 255

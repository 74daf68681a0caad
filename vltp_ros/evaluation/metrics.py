"""Segmentation metrics over many images."""

from __future__ import annotations

import numpy as np


def overlap(
    predicted: np.ndarray, truth: np.ndarray, ignored: np.ndarray | None = None
) -> tuple[int, int]:
    """Return how many pixels two masks have in common, and how many either has.

    Args:
        predicted: bool [H, W].
        truth: bool [H, W].
        ignored: bool [H, W], the pixels that do not count; None: all do.

    Raises:
        ValueError: for masks of different shapes.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"masks differ in shape: {predicted.shape} and {truth.shape}")
    if ignored is not None:
        predicted, truth = predicted & ~ignored, truth & ~ignored
    common, either = predicted & truth, predicted | truth
    return int(np.count_nonzero(common)), int(np.count_nonzero(either))


class MaskMetrics:
    """Adds up gIoU (mean of per-image IoU) and cIoU (sum of intersections over unions)."""

    def __init__(self) -> None:
        self.ious: list[float] = []
        self.intersection = 0
        self.union = 0

    def add(
        self, predicted: np.ndarray, truth: np.ndarray, ignored: np.ndarray | None = None
    ) -> None:
        """Count one pair of masks, see :func:`overlap`; an empty union counts as an IoU of 1."""
        self.add_overlap(*overlap(predicted, truth, ignored))

    def add_overlap(self, intersection: int, union: int) -> None:
        """Count one pair of masks, of which the numbers of pixels are known."""
        self.ious.append(intersection / union if union else 1.0)
        self.intersection += intersection
        self.union += union

    @property
    def count(self) -> int:
        """Return the number of pairs so far."""
        return len(self.ious)

    @property
    def giou(self) -> float:
        """Return the mean IoU, 0..1; not a number before the first image."""
        return float(np.mean(self.ious)) if self.ious else float("nan")

    @property
    def giou_error(self) -> float | None:
        """Return the standard error of the mean IoU; None before the second image."""
        return float(np.std(self.ious, ddof=1) / self.count**0.5) if self.count > 1 else None

    @property
    def ciou(self) -> float:
        """Return the cumulative IoU, 0..1; 1 when no image has any positive pixel."""
        return self.intersection / self.union if self.union else 1.0

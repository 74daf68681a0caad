"""What passes between the rooms: plain data, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Segmentation:
    """The answer to one task on one image, at the size of that image."""

    task: str
    mask: np.ndarray  # bool [H, W]
    probability: np.ndarray  # float32 [H, W], 0..1; the mask is where it exceeds the threshold
    score: float  # mean probability inside the mask, 0..1; 1 - max probability when it is empty
    kept: tuple[np.ndarray, ...]  # per pruning stage: bool [gh, gw] over the valid image patches
    times_ms: dict[str, float]  # per stage, in order of execution; the shared ones are not divided
    tokens: tuple[int, ...]  # per pruning stage: tokens that ran, those of the padding included
    seg_age_s: float = 0.0  # from the image on which <SEG> was computed to this one, seconds

    @property
    def area(self) -> int:
        """Return the number of mask pixels."""
        return int(self.mask.sum())

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Return x, y, width, height of the mask in pixels; all zero when it is empty."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        if not len(rows):
            return (0, 0, 0, 0)
        x, y = int(columns[0]), int(rows[0])
        return (x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1)

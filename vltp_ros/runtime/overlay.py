"""A mask painted over its image."""

from __future__ import annotations

import cv2
import numpy as np

COLOUR = np.array((255, 64, 129), np.uint8)  # RGB; rare among household objects


def draw_overlay(image: np.ndarray, mask: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """A copy of ``image`` (uint8 [H, W, 3] RGB) with ``mask`` (bool [H, W]) tinted and outlined.

    ``alpha`` is the tint's opacity, 0..1; the outline is opaque.
    """
    painted = image.copy()
    tint = alpha * COLOUR.astype(np.float32)
    painted[mask] = ((1 - alpha) * image[mask] + tint).astype(np.uint8)
    outline, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(painted, outline, -1, COLOUR.tolist(), 2)

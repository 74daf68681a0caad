"""What videos and figures share."""

from __future__ import annotations

import numpy as np

BACKGROUND, TEXT, FAINT = (24, 24, 28), (255, 255, 255), (170, 170, 180)  # RGB
DARKEST = 0.15  # what is left of the light where no token was kept


def dim(image: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Dim uint8 [H, W, 3] to each pixel's light, 0..1 [H, W]; 0 leaves it dark, not black."""
    return (image * (DARKEST + (1 - DARKEST) * light[..., None])).astype(np.uint8)

"""What videos and figures share."""

from __future__ import annotations

import cv2
import numpy as np

from vltp_ros.evaluation.metrics import MaskMetrics
from vltp_ros.types import Segmentation

BACKGROUND, TEXT, FAINT = (24, 24, 28), (255, 255, 255), (170, 170, 180)  # RGB
PANEL_WIDTH = 192  # pixels, of each picture of a figure
GAP, EDGE = 6, 12  # pixels between pictures, and around a figure
DARKEST = 0.15  # what is left of the light where no token was kept


def dim(image: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Dim uint8 [H, W, 3] to each pixel's light, 0..1 [H, W]; 0 leaves it dark, not black."""
    return (image * (DARKEST + (1 - DARKEST) * light[..., None])).astype(np.uint8)


def shrink(image: np.ndarray) -> np.ndarray:
    """Scale an image, uint8 [H, W, 3], to PANEL_WIDTH."""
    height = round(image.shape[0] * PANEL_WIDTH / image.shape[1])
    return cv2.resize(image, (PANEL_WIDTH, height), interpolation=cv2.INTER_AREA)


def verdict(
    result: Segmentation, truth: np.ndarray | None, ignored: np.ndarray | None = None
) -> str:
    """Return how good an answer is, or, where nobody knows, how sure.

    Args:
        result: the answer.
        truth: bool [H, W], the mask as it should be; None: nobody knows.
        ignored: bool [H, W], the pixels that do not count; None: all do.
    """
    if truth is None:
        return f"score {result.score:.2f}"
    metrics = MaskMetrics()
    metrics.add(result.mask, truth, ignored)
    return f"IoU {metrics.giou:.2f}"

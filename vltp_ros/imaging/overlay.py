"""A mask painted over its image."""

from __future__ import annotations

import cv2
import numpy as np

# RGB; rare among household objects, and far from each other.
COLOURS = np.array(
    ((255, 64, 129), (0, 229, 255), (255, 214, 0), (118, 255, 3), (213, 0, 249), (255, 109, 0)),
    np.uint8,
)
LABEL_HEIGHT = 0.03  # of the image's


def draw_overlay(
    image: np.ndarray, mask: np.ndarray, alpha: float = 0.5, number: int = 0, label: str = ""
) -> np.ndarray:
    """Return a copy of an image with a mask tinted and outlined.

    Args:
        image: uint8 [H, W, 3] RGB.
        mask: bool [H, W].
        alpha: opacity of the tint, 0..1; the outline is opaque.
        number: chooses the colour, and the line of the label, so that several masks fit one image.
        label: text to write at the top.
    """
    painted, colour = image.copy(), COLOURS[number % len(COLOURS)]
    tint = alpha * colour.astype(np.float32)
    painted[mask] = ((1 - alpha) * image[mask] + tint).astype(np.uint8)
    outline, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(painted, outline, -1, colour.tolist(), 2)
    return _write(painted, label, number, colour) if label else painted


def _write(painted: np.ndarray, label: str, number: int, colour: np.ndarray) -> np.ndarray:
    """Write into a line, counted from the top, on black; OpenCV's letters are ASCII's."""
    size = max(LABEL_HEIGHT * len(painted), 8)
    scale, letters = size / 22, label.encode("ascii", "replace").decode()
    (width, height), base = cv2.getTextSize(letters, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    line = height + 2 * base
    top = number * line
    painted[top : top + line, : width + base] //= 3
    corner = (base // 2, top + height + base)
    style = (cv2.FONT_HERSHEY_SIMPLEX, scale, colour.tolist(), 1, cv2.LINE_AA)
    return cv2.putText(painted, letters, corner, *style)

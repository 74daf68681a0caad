"""Answers painted over their image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from vltp_ros.imaging.instances import Instance
from vltp_ros.types import Segmentation

# RGB; rare among household objects, and far from each other.
COLOURS = np.array(
    ((255, 64, 129), (0, 229, 255), (255, 214, 0), (118, 255, 3), (213, 0, 249), (255, 109, 0)),
    np.uint8,
)
WHITE = np.full(3, 255, np.uint8)
FONT = cv2.FONT_HERSHEY_SIMPLEX
LABEL_HEIGHT = 0.03  # of the image's


def colour_of(track: int) -> np.ndarray:
    """Return the colour of a track, uint8 [3] RGB."""
    return COLOURS[(track - 1) % len(COLOURS)]


def draw_overlay(
    image: np.ndarray,
    answers: Iterable[tuple[Segmentation, Sequence[Instance]]],
    alpha: float = 0.5,
    labels: bool = True,
) -> np.ndarray:
    """Return a copy of an image with every instance tinted and outlined in its track's colour.

    Args:
        image: uint8 [H, W, 3] RGB.
        answers: to the tasks on the image, with their instances.
        alpha: opacity of the tint, 0..1; the outline is opaque.
        labels: write tasks and scores at the top, with the tracks of what serves them, and each
            track at its instance.
    """
    painted, answers = image.copy(), list(answers)
    instances = [instance for _, found in answers for instance in found]
    for instance in instances:
        tint(painted, instance.mask, instance.box[:2], colour_of(instance.track), alpha)
    if labels:
        for instance in instances:
            _name(painted, instance, len(answers) * _line_height(painted))
        for line, (result, found) in enumerate(answers):
            tracks = [f"#{instance.track}" for instance in found]
            _write(painted, " ".join((result.label, *tracks)), line, WHITE)
    return painted


def tint(
    painted: np.ndarray,
    mask: np.ndarray,
    corner: tuple[int, int] = (0, 0),
    colour: np.ndarray = COLOURS[0],
    alpha: float = 0.5,
) -> None:
    """Paint a mask over uint8 [H, W, 3] RGB, in place.

    Args:
        painted: the picture.
        mask: bool [h, w].
        corner: column and row of the mask's first pixel.
        colour: uint8 [3] RGB.
        alpha: opacity of the tint, 0..1; the outline is opaque.
    """
    x, y = corner
    region = painted[y : y + mask.shape[0], x : x + mask.shape[1]]
    mixed = (1 - alpha) * np.arange(256)[:, None] + alpha * colour  # of each level and channel
    inside = np.ascontiguousarray(mask).view(np.uint8)
    cv2.copyTo(cv2.LUT(region, mixed.astype(np.uint8)[:, None]), inside, region)
    outline, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE, offset=corner)
    cv2.drawContours(painted, outline, -1, colour.tolist(), 2)


def _name(painted: np.ndarray, instance: Instance, top: int) -> None:
    """Write an instance's track above it, but not above a row of the picture."""
    text = f"#{instance.track}"
    (width, height), base = cv2.getTextSize(text, FONT, _text_size(painted), 1)
    x, y, box_width, _ = instance.box
    left = min(max(x + (box_width - width) // 2, 0), painted.shape[1] - width)
    bottom = max(y - base, top + height + base)
    _put(painted, text, (left, bottom), colour_of(instance.track))


def _write(painted: np.ndarray, text: str, line: int, colour: np.ndarray) -> None:
    """Write into a line, counted from the top, in place."""
    (_, height), base = cv2.getTextSize(text, FONT, _text_size(painted), 1)
    _put(painted, text, (base // 2, line * _line_height(painted) + height + base), colour)


def _put(painted: np.ndarray, text: str, start: tuple[int, int], colour: np.ndarray) -> None:
    """Write on darkened ground, in place; OpenCV's letters are ASCII's."""
    letters, size = text.encode("ascii", "replace").decode(), _text_size(painted)
    (width, height), base = cv2.getTextSize(letters, FONT, size, 1)
    x, y = start
    margin = base // 2
    top, left = max(y - height - base, 0), max(x - margin, 0)
    painted[top : y + base, left : x + width + margin] //= 3
    cv2.putText(painted, letters, start, FONT, size, colour.tolist(), 1, cv2.LINE_AA)


def _line_height(painted: np.ndarray) -> int:
    """Return the height of a line, pixels; that of the letters is the same for any text."""
    (_, height), base = cv2.getTextSize("#", FONT, _text_size(painted), 1)
    return height + 2 * base


def _text_size(painted: np.ndarray) -> float:
    """Return OpenCV's size of letters that fit a picture."""
    return max(LABEL_HEIGHT * len(painted), 8) / 22

"""Answers painted over their image."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vltp_ros.imaging.instances import Instance
from vltp_ros.types import Segmentation

# RGB; rare among household objects, and far from each other.
COLOURS = np.array(
    ((255, 64, 129), (0, 229, 255), (255, 214, 0), (118, 255, 3), (213, 0, 249), (255, 109, 0)),
    np.uint8,
)
WHITE, DARK = (255, 255, 255), (16, 16, 16)
CONTRAST = 45.0
"""Distance in CIELAB between a colour and what it is painted on, from which it stands out."""

LINE_SHARE = 1 / 300  # width of the outline's inner line, of the image's shorter side
TEXT_SHARE, LEAST_TEXT = 0.04, 10  # size of letters, of the image's height; at least, pixels


def to_lab(colours: np.ndarray) -> np.ndarray:
    """Return colours in CIELAB, where distances are as large as they look: [N, 3] of 0..255 RGB."""
    return cv2.cvtColor(colours[None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[0]


LABS = to_lab(COLOURS)


def choose_colours(image: np.ndarray, instances: Iterable[Instance]) -> dict[int, np.ndarray]:
    """Return a colour for each track, uint8 [3] RGB.

    A track keeps its colour from image to image, unless another one has it already, or what the
    instance covers looks like it.

    Args:
        image: uint8 [H, W, 3] RGB.
        instances: in it, with their tracks.
    """
    chosen: dict[int, np.ndarray] = {}
    free: list[int] = []
    for instance in sorted(instances, key=lambda instance: instance.track):
        x, y, width, height = instance.box
        below = cv2.mean(image[y : y + height, x : x + width], instance.mask.view(np.uint8))[:3]
        lacking = CONTRAST - np.linalg.norm(LABS - to_lab(np.array([below])), axis=1)
        own = (instance.track - 1) % len(COLOURS)
        free = free or [*range(own, len(COLOURS)), *range(own)]
        best = min(
            free, key=lambda number: (max(0, lacking[number]), (number - own) % len(COLOURS))
        )
        free.remove(best)
        chosen[instance.track] = COLOURS[best]
    return chosen


def draw_overlay(
    image: np.ndarray,
    answers: Iterable[tuple[Segmentation, Sequence[Instance]]],
    alpha: float = 0.5,
    labels: bool = True,
    colours: Mapping[int, np.ndarray] | None = None,
) -> np.ndarray:
    """Return a copy of an image with every instance tinted and outlined in its track's colour.

    Args:
        image: uint8 [H, W, 3] RGB.
        answers: to the tasks on the image, with their instances.
        alpha: opacity of the tint, 0..1; the outline is opaque.
        labels: write tasks and scores at the top, with the tracks of what serves them, and each
            track at its instance.
        colours: of the tracks, as :func:`choose_colours` has them; None: those.
    """
    painted, answers = image.copy(), list(answers)
    instances = [instance for _, found in answers for instance in found]
    if colours is None:
        colours = choose_colours(image, instances)
    for instance in instances:
        tint(painted, instance.mask, instance.box[:2], colours[instance.track], alpha)
    if labels:
        _write_labels(painted, answers, colours)
    return painted


def tint(
    painted: np.ndarray,
    mask: np.ndarray,
    corner: tuple[int, int] = (0, 0),
    colour: np.ndarray = COLOURS[0],
    alpha: float = 0.5,
) -> None:
    """Paint a mask over uint8 [H, W, 3] RGB, in place, with a dark line around its outline.

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
    outline, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE, offset=corner)
    width = max(1, round(LINE_SHARE * min(painted.shape[:2])))
    cv2.drawContours(painted, outline, -1, DARK, 3 * width)
    cv2.drawContours(painted, outline, -1, colour.tolist(), width)


def _write_labels(
    painted: np.ndarray,
    answers: Sequence[tuple[Segmentation, Sequence[Instance]]],
    colours: Mapping[int, np.ndarray],
) -> None:
    """Write the tasks at the top, and below them each track above its instance, in place."""
    font = _font(painted.shape[0])
    top = 0
    for result, found in answers:
        tracks = [f"#{instance.track}" for instance in found]
        for line in _wrapped(" ".join((result.label, *tracks)), font, painted.shape[1]):
            top += _write(painted, line, (0, top), WHITE, font)
    for _, found in answers:
        for instance in found:
            text = f"#{instance.track}"
            width, height = _size(text, font)
            x, y, box_width, _ = instance.box
            left = min(max(x + (box_width - width) // 2, 0), max(painted.shape[1] - width, 0))
            corner = (left, max(y - height, top))
            _write(painted, text, corner, tuple(map(int, colours[instance.track])), font)


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    """Break a text between words into lines of at most so many pixels, where words allow it.

    Pillow's letters are ASCII's: accents are left out.
    """
    text = unicodedata.normalize("NFKD", text)
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    text = text.encode("ascii", "replace").decode()
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _size(longer, font)[0] <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _write(
    painted: np.ndarray, text: str, corner: tuple[int, int], colour: tuple[int, ...], font: Any
) -> int:
    """Write on darkened ground from a corner on, in place; return the line's height, pixels."""
    (x, y), (width, height) = corner, _size(text, font)
    ground = painted[y : y + height, x : x + width]
    if ground.size:
        margin = np.zeros((height, height // 6), np.uint8)
        letters = np.hstack((margin, *(_word(word, font) for word in text.split())))
        opacity = letters[: ground.shape[0], : ground.shape[1], None].astype(np.uint16)
        ground[:] = (ground // 3 * (255 - opacity) + np.array(colour, np.uint16) * opacity) // 255
    return height


def _size(text: str, font: Any) -> tuple[int, int]:
    """Return width and height of a line with its ground, pixels."""
    height = round(1.4 * font.size)
    return height // 6 + sum(_word(word, font).shape[1] for word in text.split()), height


@lru_cache(256)  # drawing letters is slow, and most words are the last image's
def _word(text: str, font: Any) -> np.ndarray:
    """Return how much of each pixel a word and the space after it cover, uint8 [H, W]."""
    height = round(1.4 * font.size)
    picture = Image.new("L", (round(font.getlength(f"{text} ")), height))
    ImageDraw.Draw(picture).text((0, height // 2), text, 255, font, "lm")
    return np.asarray(picture)


@lru_cache(8)
def _font(height: int) -> Any:
    """Return letters for pictures of a height."""
    return ImageFont.load_default(max(round(TEXT_SHARE * height), LEAST_TEXT))

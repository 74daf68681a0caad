"""The right answers of data sets: polygons and run lengths, checked and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import cv2
import numpy as np

from vltp_ros.paths import pip_command

Size = tuple[int, int]
"""Height and width, pixels."""

SLACK = 1.0
"""How far a polygon may reach beyond its image, pixels: annotation tools round."""


class Truth(Protocol):
    """What the right mask of an image is drawn from."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing serves."""

    def check(self, size: Size) -> None:
        """Raise ValueError for a shape that is none, or lies outside an image of this size."""

    def draw(self, size: Size) -> tuple[np.ndarray, np.ndarray | None]:
        """Return bool [H, W] twice: what serves, and what does not count; None: all counts."""


@dataclass(frozen=True)
class Instances:
    """Instances in COCO's format, of which all serve.

    Each is a list of polygons [x, y, x, y, …], or ``{"size": [H, W], "counts": …}`` with a list
    of run lengths.
    """

    segmentations: list[Any]

    @property
    def is_empty(self) -> bool:
        """Whether there are no instances."""
        return not self.segmentations

    def check(self, size: Size) -> None:
        """Raise ValueError for a shape that is none, or lies outside an image of this size."""
        if not isinstance(self.segmentations, list):
            raise ValueError(f"instances are {self.segmentations!r}; they must be a list")
        for segmentation in self.segmentations:
            if isinstance(segmentation, dict):
                _check_run_lengths(segmentation, size)
                continue
            for polygon in _polygons(segmentation):
                check_polygon(polygon, size)

    def draw(self, size: Size) -> tuple[np.ndarray, None]:
        """Return the union of the instances, bool [H, W], and None."""
        if self.is_empty:
            return np.zeros(size, bool), None
        coco = _pycocotools()
        encoded = []
        for segmentation in self.segmentations:
            if isinstance(segmentation, dict):
                encoded.append(coco.frPyObjects(segmentation, *size))
            else:
                polygons = [np.ravel(polygon).tolist() for polygon in _polygons(segmentation)]
                encoded += coco.frPyObjects(polygons, *size)
        return coco.decode(coco.merge(encoded)).astype(bool), None


@dataclass(frozen=True)
class Outlines:
    """Polygons [[x, y], …] of which some mark what does not count; smaller ones lie on larger."""

    targets: Sequence[Any]
    ignored: Sequence[Any]

    @property
    def is_empty(self) -> bool:
        """Whether nothing serves."""
        return not self.targets

    def check(self, size: Size) -> None:
        """Raise ValueError for a shape that is none, or lies outside an image of this size."""
        for polygon in (*self.targets, *self.ignored):
            check_polygon(polygon, size)

    def draw(self, size: Size) -> tuple[np.ndarray, np.ndarray]:
        """Return bool [H, W] twice: what serves, and what does not count.

        Outlines belong to their polygons and corners are cut to whole pixels, as the owners of
        ReasonSeg draw them.
        """
        layers = []
        for value, polygons in ((1, self.targets), (2, self.ignored)):
            for polygon in polygons:
                layer = np.zeros(size, np.uint8)
                cv2.fillPoly(layer, [np.asarray(polygon, float).astype(np.int32)], (1,))
                layers.append((value, layer.astype(bool)))
        canvas = np.zeros(size, np.uint8)
        for value, layer in sorted(layers, key=lambda each: -np.count_nonzero(each[1])):
            canvas[layer] = value
        return canvas == 1, canvas == 2


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask, bool [H, W], as ``{"size": [H, W], "counts": …}`` of COCO, compressed.

    Raises ModuleNotFoundError naming what installs pycocotools.
    """
    encoded = _pycocotools().encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}


def check_polygon(polygon: Any, size: Size) -> None:
    """Raise ValueError for a polygon that is none, or lies outside an image.

    Args:
        polygon: [x, y, x, y, …] or [[x, y], …], pixels.
        size: of the image.
    """
    try:
        points = np.asarray(polygon, float).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise ValueError("a polygon is no list of pairs of numbers") from error
    if len(points) < 3:
        raise ValueError(f"a polygon has {len(points)} corners; it must have at least 3")
    height, width = size
    # Not a number is not inside either.
    inside = (points >= -SLACK) & (points <= np.array([width, height]) + SLACK)
    if not inside.all():
        x, y = points[~inside.all(1)][0]
        raise ValueError(
            f"a polygon has a corner at ({x:g}, {y:g}), outside its image of {width} x {height} "
            "pixels"
        )


def _polygons(segmentation: Any) -> Sequence[Any]:
    """Return the polygons of an instance, which some files give as a single flat list."""
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError(f"a segmentation is {segmentation!r}; it must have a polygon or more")
    return segmentation if isinstance(segmentation[0], list) else [segmentation]


def _check_run_lengths(segmentation: dict, size: Size) -> None:
    """Raise ValueError for run lengths that are none, or of another size than the image's."""
    if segmentation.get("size") != list(size):
        raise ValueError(
            f"run lengths have size {segmentation.get('size')}; the image has {list(size)}"
        )
    counts = segmentation.get("counts")
    # Compressed ones cannot be checked: of damaged ones pycocotools draws what lies in memory.
    if not isinstance(counts, list) or not all(isinstance(n, int) and n >= 0 for n in counts):
        raise ValueError("counts of run lengths are no list of numbers of pixels")
    if sum(counts) != np.prod(size):
        raise ValueError("run lengths do not add up to the image's pixels")


def _pycocotools() -> ModuleType:
    """Return the masks of pycocotools. Raises ModuleNotFoundError naming what installs it."""
    try:
        from pycocotools import mask
    except ModuleNotFoundError as error:
        command = pip_command("data")
        raise ModuleNotFoundError(f"masks of data sets need pycocotools: {command}") from error
    return mask

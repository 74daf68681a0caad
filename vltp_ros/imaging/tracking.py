"""The same things found again from image to image. Knows nothing of ROS."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import lap
import numpy as np

from vltp_ros.imaging.instances import Instance
from vltp_ros.types import Box

K = TypeVar("K", bound=Hashable)

MARGIN = 0.5
"""Boxes are widened by this share of their sides, each way, before they are compared."""

MEMORY_SECONDS = 2.0
"""A thing that is not seen keeps its number for so long,"""
MEMORY_IMAGES = 5
"""and for so many images."""


@dataclass
class Track:
    """A thing that is followed."""

    number: int
    box: np.ndarray  # float64 [4]: left, top, right, bottom, where it was last seen
    velocity: np.ndarray  # float64 [4], pixels a second
    seconds: float  # when it was last seen
    missed: int = 0  # images since

    def expected(self, seconds: float) -> np.ndarray:
        """Return the box where it is likely to be at a time."""
        return self.box + self.velocity * (seconds - self.seconds)

    def see(self, box: np.ndarray, seconds: float) -> None:
        """Take note of where it is."""
        passed = seconds - self.seconds
        if passed > 0:
            self.velocity = (self.velocity + (box - self.box) / passed) / 2
        self.box, self.seconds, self.missed = box, seconds, 0


class Tracker:
    """Numbers the instances of one camera, so that a thing keeps its number.

    Instances of the same task are matched with what was seen before, at the least total cost, by
    how far boxes overlap that are widened on all sides: at a few images a second a thing may have
    left its own box. This is the buffered IoU of C-BIoU (Yang et al., 2023), with one width. The
    libraries for tracking are made for pedestrians at a video's rate, and ask for NumPy 1 alone
    (norfair) or 2 alone (trackers), while ROS distributions have either.
    """

    def __init__(self) -> None:
        self._tracks: dict[Hashable, list[Track]] = {}
        self._numbers = itertools.count(1)
        self._seconds = -np.inf

    def update(
        self, found: Mapping[K, Sequence[Instance]], seconds: float
    ) -> dict[K, tuple[Instance, ...]]:
        """Return the instances with their tracks' numbers, from 1.

        Args:
            found: the instances of each task in one image; what is missing is no task any more.
            seconds: when the image was taken. Where that is before the last one, as when a
                recording begins anew, all tracks end.
        """
        if seconds < self._seconds:
            self._tracks = {}
        self._seconds = seconds
        self._tracks = {task: self._tracks.get(task, []) for task in found}
        return {task: self._follow(task, instances) for task, instances in found.items()}

    def _follow(self, task: Hashable, instances: Sequence[Instance]) -> tuple[Instance, ...]:
        tracks, seconds = self._tracks[task], self._seconds
        boxes = [_corners(instance.box) for instance in instances]
        cost = np.ones((len(instances), len(tracks)))
        for i, box in enumerate(boxes):
            for j, track in enumerate(tracks):
                cost[i, j] -= _buffered_iou(box, track.expected(seconds))
        # Below the limit are those alone that overlap at all.
        _, matches, seen = lap.lapjv(cost, extend_cost=True, cost_limit=1 - 1e-6)
        followed = []
        for instance, box, match in zip(instances, boxes, matches, strict=True):
            if match < 0:
                track = Track(next(self._numbers), box, np.zeros(4), seconds)
                tracks.append(track)
            else:
                track = tracks[match]
                track.see(box, seconds)
            followed.append(replace(instance, track=track.number))
        for track, match in zip(tracks, seen, strict=False):  # the new ones come after
            track.missed += match < 0
        self._tracks[task] = [track for track in tracks if not self._is_forgotten(track)]
        return tuple(followed)

    def _is_forgotten(self, track: Track) -> bool:
        is_old = self._seconds - track.seconds > MEMORY_SECONDS
        return is_old and track.missed > MEMORY_IMAGES


def _corners(box: Box) -> np.ndarray:
    x, y, width, height = box
    return np.array((x, y, x + width, y + height), np.float64)


def _buffered_iou(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two boxes [4], corners, that are widened."""
    one, other = _widened(one), _widened(other)
    common = _area(np.concatenate((np.maximum(one, other)[:2], np.minimum(one, other)[2:])))
    return common / (_area(one) + _area(other) - common)


def _widened(box: np.ndarray) -> np.ndarray:
    margin = MARGIN * (box[2:] - box[:2])
    return box + np.concatenate((-margin, margin))


def _area(box: np.ndarray) -> float:
    width, height = (box[2:] - box[:2]).clip(min=0)
    return float(width * height)

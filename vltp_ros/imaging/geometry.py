"""From a mask and a depth image to a place in space. Knows nothing of ROS.

Points and poses are in the camera's optical frame: x to the right, y down, z forward, metres.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import cv2
import numpy as np

from vltp_ros.types import Box

MIN_POINTS = 10  # fewer say nothing about a shape
SPREAD = 4.5  # median absolute deviations (3 standard deviations) from the median depth
MIN_SPREAD = 0.02  # metres that are never cut off
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
SAMPLED = 4096  # points, evenly among all, of which median and deviations are taken


LARGEST_SIDE = 2**16
"""Of a camera's image, pixels; whatever says more is no calibration."""


LENS_ERROR = 0.5
"""Pixels by which the ray of a pixel may miss it; beyond, the lens's model has none for it."""

undistort: Callable[..., np.ndarray] = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)
"""Iterates until it is exact; in OpenCV 5 the latter does."""


@dataclass(frozen=True)
class Pinhole:
    """A camera; focal lengths and centre in pixels of its image.

    The lens's distortion is as OpenCV has it, and empty where the image is free of it.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: tuple[float, ...] = ()
    fisheye: bool = False  # the distortion is one of cv2.fisheye

    def __post_init__(self) -> None:
        if not (self.fx > 0 and self.fy > 0 and self.width > 0 and self.height > 0):
            raise ValueError(
                f"focal lengths are {self.fx} and {self.fy}, the size {self.width}x{self.height}; "
                "all must be above 0: the camera is not calibrated"
            )
        if not all(map(math.isfinite, (self.fx, self.fy, self.cx, self.cy))):
            raise ValueError(
                f"focal lengths and centre are {self.fx}, {self.fy}, {self.cx} and {self.cy}; "
                "they must be finite"
            )
        if not all(map(math.isfinite, self.distortion)):
            raise ValueError(f"the distortion is {self.distortion}; it must be finite")
        if max(self.width, self.height) > LARGEST_SIDE:
            raise ValueError(
                f"the size is {self.width}x{self.height}; at most {LARGEST_SIDE} pixels a side"
            )

    def resized(self, width: int, height: int) -> Pinhole:
        """Return the camera with an image of another size."""
        x, y = width / self.width, height / self.height
        # The centre of the first pixel is 0, its left edge -0.5.
        cx, cy = (self.cx + 0.5) * x - 0.5, (self.cy + 0.5) * y - 0.5
        return replace(
            self, fx=self.fx * x, fy=self.fy * y, cx=cx, cy=cy, width=width, height=height
        )

    def rays(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where pixels look to: x and y at a depth of 1, NaN where no ray meets the lens."""
        if self.distortion:
            x, y = _rays(self)[rows, columns].T
            return x, y
        cx, cy, fx, fy = np.array((self.cx, self.cy, self.fx, self.fy), np.float32)
        return (columns.astype(np.float32) - cx) / fx, (rows.astype(np.float32) - cy) / fy


@lru_cache(16)  # of each camera one, which takes a good part of a second to make
def _rays(camera: Pinhole) -> np.ndarray:
    """Return the rays of all pixels of a camera with distortion, float32 [h, w, 2]."""
    matrix = np.array(((camera.fx, 0, camera.cx), (0, camera.fy, camera.cy), (0, 0, 1)))
    distortion = np.array(camera.distortion)
    columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    pixels = np.stack((columns, rows), -1).reshape(-1, 1, 2).astype(np.float64)
    lens: Any = cv2.fisheye if camera.fisheye else cv2
    if camera.fisheye:
        rays = lens.undistortPoints(pixels, matrix, distortion)
    else:
        criteria = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 50, 0.01)  # times, pixels
        rays = undistort(pixels, matrix, distortion, R=None, P=None, criteria=criteria)
    points, still = cv2.convertPointsToHomogeneous(rays), np.zeros(3)
    again, _ = lens.projectPoints(points, still, still, matrix, distortion)
    rays[~(np.linalg.norm(again - pixels, axis=-1) < LENS_ERROR)] = np.nan
    return rays.reshape(camera.height, camera.width, 2).astype(np.float32)


class Depth(Protocol):
    """A depth image [h, w], of which any part can be taken, as of an array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""

    def __getitem__(self, part: Any, /) -> np.ndarray:
        """Return a part, float32 metres along z, NaN where it is unknown."""


@dataclass(frozen=True)
class Placement:
    """Where the visible part of something is, and how it lies."""

    position: np.ndarray  # float64 [3]: mean of the points
    axes: np.ndarray  # float64 [3, 3], columns: along the long side, across it, off the camera
    extent: np.ndarray  # float64 [3]: size along each axis
    points: int  # their number


@dataclass(frozen=True)
class Points:
    """Points in space, and where in the depth image each was seen."""

    xyz: np.ndarray  # float32 [N, 3]
    rows: np.ndarray  # int64 [N]
    columns: np.ndarray  # int64 [N]


def back_project(
    depth: Depth,
    mask: np.ndarray,
    box: Box,
    size: tuple[int, int],
    camera: Pinhole,
    max_points: float = math.inf,
) -> Points:
    """Return the points in space that a mask covers, or about ``max_points`` of them.

    The mask's edge is left out, where depth mixes with what is behind, and so is what is far in
    front of or behind the rest.

    Args:
        depth: in the frame of the mask's camera.
        mask: bool [height, width] of the box.
        box: in the image.
        size: of the image, rows and columns; the depth may have another one.
        camera: of the image.
        max_points: above 0. Of a mask that covers more, pixels are taken evenly.
    """
    small, top, left = mask_at(depth.shape, mask, box, size)
    if not small.size:  # smaller than one of the depth's pixels
        return Points(np.zeros((0, 3), np.float32), *np.zeros((2, 0), np.int64))
    inner = cv2.erode(small, np.ones((3, 3), np.uint8), borderValue=(0,))
    rows, columns = _sampled(inner if inner.any() else small, max_points)
    rows, columns = rows + top, columns + left
    z = depth[rows, columns]
    usable = np.isfinite(z)
    usable[usable] = _near_the_rest(z[usable])
    if not usable.all():
        rows, columns, z = rows[usable], columns[usable], z[usable]
    x, y = camera.resized(depth.shape[1], depth.shape[0]).rays(rows, columns)
    points = np.empty((len(z), 3), np.float32)
    points[:, 0], points[:, 1], points[:, 2] = x * z, y * z, z
    known = np.isfinite(x)
    if known.all():
        return Points(points, rows, columns)
    return Points(points[known], rows[known], columns[known])


def _sampled(mask: np.ndarray, count: float) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of a mask's pixels, uint8 [H, W], or of about ``count`` of them."""
    height, width = mask.shape
    step = math.ceil(cv2.countNonZero(mask) / count)
    if step <= 1:
        rows, columns = np.nonzero(mask)
        return rows, columns
    # A lattice: the pixels of a row are ``step`` apart, and no line of any slope is left out.
    starts = (np.arange(height) * GOLDEN_RATIO % 1 * step).astype(np.int64)
    columns = np.arange(0, width, step) + starts[:, None]
    rows = np.broadcast_to(np.arange(height)[:, None], columns.shape)
    inside = mask[rows, columns.clip(max=width - 1)].view(bool) & (columns < width)
    return rows[inside], columns[inside]


def mask_at(
    shape: tuple[int, ...], mask: np.ndarray, box: Box, size: tuple[int, int]
) -> tuple[np.ndarray, int, int]:
    """Return a mask as a depth image of another size would have it, and where there.

    Args:
        shape: of the depth image, rows and columns.
        mask: bool [height, width] of the box.
        box: in the image.
        size: of the image, rows and columns.

    Returns:
        uint8, 0 or 1, of the part of the depth image that the box covers, and that part's first
        row and column.
    """
    x, y, width, height = box
    if tuple(shape) == tuple(size):
        return mask.view(np.uint8), y, x
    rows, top = _samples(y, height, size[0], shape[0])
    columns, left = _samples(x, width, size[1], shape[1])
    return mask[np.ix_(rows - y, columns - x)].astype(np.uint8), top, left


def _samples(start: int, length: int, side: int, other: int) -> tuple[np.ndarray, int]:
    """Return which pixels of a side those of another resolution show, within a stretch.

    Also returns the number, there, of the first.
    """
    if side == other:
        return np.arange(start, start + length), start
    shown = ((np.arange(other) + 0.5) * side / other).astype(np.int64)
    within = np.flatnonzero((shown >= start) & (shown < start + length))
    return shown[within], int(within[0]) if len(within) else 0


def _near_the_rest(z: np.ndarray) -> np.ndarray:
    """Return bool [N]: which depths are not outliers."""
    if not len(z):
        return np.zeros(0, bool)
    some = z[:: -(-len(z) // SAMPLED)]
    middle = np.median(some)
    limit = max(SPREAD * np.median(np.abs(some - middle)), MIN_SPREAD)
    return np.abs(z - middle) <= limit


def place(points: np.ndarray) -> Placement | None:
    """Return how points [N, 3] lie; None for too few.

    The third axis is the line of sight through their mean; the others span the plane across it,
    along the points' longer and shorter side. The first points to the right, or down.
    """
    if len(points) < MIN_POINTS:
        return None
    rows = np.ascontiguousarray(points.T)  # [3, N]: sums along rows are fast
    mean = rows.mean(1, dtype=np.float64)
    rows = rows - mean[:, None].astype(rows.dtype)
    away = mean / np.linalg.norm(mean)
    across = np.eye(3) - np.outer(away, away)
    scatter = across @ (rows @ rows.T).astype(np.float64) @ across
    _, directions = np.linalg.eigh(scatter)  # ascending: away has nothing left
    along = directions[:, 2]
    if tuple(np.round(along[:2], 6)) < (0.0, 0.0):
        along = -along
    axes = np.stack((along, np.cross(away, along), away), 1)
    extent = np.ptp(axes.T.astype(rows.dtype) @ rows, axis=1).astype(np.float64)
    return Placement(mean, axes, extent, len(points))


def quaternion(axes: np.ndarray) -> tuple[float, float, float, float]:
    """Return x, y, z, w of the rotation with columns ``axes`` [3, 3]; w is not negative."""
    xx, yy, zz = np.diag(axes)
    # The eigenvector of the largest eigenvalue; no case is near a division by zero.
    matrix = np.array(
        (
            (xx - yy - zz, 0, 0, 0),
            (axes[0, 1] + axes[1, 0], yy - xx - zz, 0, 0),
            (axes[0, 2] + axes[2, 0], axes[1, 2] + axes[2, 1], zz - xx - yy, 0),
            (
                axes[2, 1] - axes[1, 2],
                axes[0, 2] - axes[2, 0],
                axes[1, 0] - axes[0, 1],
                xx + yy + zz,
            ),
        )
    )
    vector = np.linalg.eigh(matrix)[1][:, 3]  # reads the lower triangle
    x, y, z, w = vector if vector[3] >= 0 else -vector
    return float(x), float(y), float(z), float(w)

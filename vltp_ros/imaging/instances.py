"""The things that an answer is about, told apart. Knows nothing of ROS."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vltp_ros.imaging.geometry import (
    Depth,
    Pinhole,
    Placement,
    Points,
    back_project,
    mask_at,
    place,
)
from vltp_ros.types import Box, Segmentation, calibrated

# Chosen on validation scenes, by how often the instances are the objects that serve the task.

CRUMB = 2e-4
"""Share of the image below which a part of a mask is no instance, unless there is none larger."""

SMALL = 0.1
"""Share of the largest part below which a part of a mask is no instance."""

SMALL_CUT = 0.2
"""The same, of what the depth cuts off a part: masks run a little over the edges of things."""

STEP = 0.03
"""Metres by which the depth jumps from one thing to another, at least;"""
RELATIVE_STEP = 0.02
"""and as a share of the distance, with which a depth camera's noise grows."""


@dataclass(frozen=True)
class Instance:
    """One of the things that serve a task: a connected part of the answer's mask."""

    mask: np.ndarray  # bool [height, width] of the box
    box: Box  # around the mask, in the image
    centroid: tuple[float, float]  # mean column and row of the mask, pixels of the image
    area: int  # mask pixels
    score: float  # how likely it is right, 0..1, as the answer's: from the mean probability inside
    kept: tuple[int, ...]  # per pruning stage: tokens of the image that it covers and that ran
    tokens: int  # tokens of the image that it covers, wholly or in part; 0: nothing is pruned
    track: int = 0  # the same from image to image; 0: it is not followed
    points: Points | None = None  # of it in space; None without depth
    placement: Placement | None = None  # how they lie; None for too few


@dataclass(frozen=True)
class DepthView:
    """What a depth camera sees of an image."""

    depth: Depth  # of any size
    camera: Pinhole  # of the image


def separate(
    result: Segmentation, view: DepthView | None = None, max_points: float = math.inf
) -> tuple[Instance, ...]:
    """Return the instances of an answer, the likeliest first; none where nothing serves the task.

    They are the connected parts of the mask, each cut where the depth jumps inside it. What is
    smaller than CRUMB is left out, unless there is nothing larger.

    Args:
        result: the answer.
        view: the image's depth; None: the instances have no place in space.
        max_points: about how many points each instance has at most, above 0.
    """
    if not result.found:
        return ()
    size = (result.levels.shape[0], result.levels.shape[1])
    mask = np.greater(_within(result.levels, result.box), result.above).view(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    least = max(min(CRUMB * result.levels.size, areas.max()), SMALL * areas.max())
    instances = []
    for label in np.flatnonzero(areas >= least) + 1:
        x, y, width, height, _ = map(int, stats[label])
        part = _within(labels, (x, y, width, height)) == label
        corner = (x + result.box[0], y + result.box[1])
        if view is None:
            instances.append(_instance(result, part, corner))
        else:
            cut = [_instance(result, piece, corner) for piece in _cut(part, corner, view, size)]
            instances += [_located(instance, view, size, max_points) for instance in cut]
    return tuple(sorted(instances, key=lambda instance: -instance.score))


def _within(pixels: np.ndarray, box: Box) -> np.ndarray:
    """Return the part of an image, [H, W], that is inside a box."""
    x, y, width, height = box
    return pixels[y : y + height, x : x + width]


def _cut(
    part: np.ndarray, corner: tuple[int, int], view: DepthView, size: tuple[int, int]
) -> list[np.ndarray]:
    """Return the pieces into which the depth cuts a connected part of a mask, bool [H, W] each.

    Args:
        part: bool [H, W].
        corner: column and row, in the image, of its first pixel.
        view: the image's depth.
        size: of the image, rows and columns.
    """
    height, width = part.shape
    small, top, left = mask_at(view.depth.shape, part, (*corner, width, height), size)
    edges = depth_edges(view.depth[top : top + small.shape[0], left : left + small.shape[1]])
    if not np.any(edges & small.view(bool)):
        return [part]
    shown = cv2.resize(edges.view(np.uint8), part.shape[::-1], interpolation=cv2.INTER_NEAREST)
    # Not across corners: a line of edges is to hold.
    inside = (part & (shown == 0)).view(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA]
    stays = np.flatnonzero(areas >= SMALL_CUT * areas.max(initial=0)) + 1
    if len(stays) < 2:
        return [part]
    # What lies on the edges, and the pieces too small, belong to the nearest piece that stays.
    labels = _spread(labels, np.isin(labels, stays))
    return [(labels == label) & part for label in stays]


def _spread(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return values, [H, W], and the nearest known one where they are not known, bool [H, W]."""
    _, nearest = cv2.distanceTransformWithLabels(
        (~known).view(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    numbered = np.zeros(nearest.max() + 1, values.dtype)
    numbered[nearest[known]] = values[known]
    return numbered[nearest]


def depth_edges(depth: np.ndarray) -> np.ndarray:
    """Return the farther ones of neighbours between which the depth jumps, bool [H, W].

    Args:
        depth: float32 [H, W] metres. Where it is unknown (NaN), as it is around what stands in
            front of something for most cameras, the nearest pixel's counts.
    """
    known = np.isfinite(depth)
    edges = np.zeros(depth.shape, bool)
    if not known.any():
        return edges
    if not known.all():
        depth = _spread(depth, known)
    limit = np.maximum(STEP, RELATIVE_STEP * depth)
    for one, other in (
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
    ):
        step = depth[one] - depth[other]
        edges[one] |= step > limit[one]
        edges[other] |= -step > limit[other]
    return edges


def _instance(result: Segmentation, mask: np.ndarray, corner: tuple[int, int]) -> Instance:
    """Return the instance with a mask, bool [H, W], of which the first pixel is at a corner."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    mask = np.ascontiguousarray(_within(mask, (left, top, width, height)))
    x, y = corner[0] + left, corner[1] + top
    pixels = mask.view(np.uint8)
    moments = cv2.moments(pixels)
    area = int(moments["m00"])
    levels = _within(result.levels, (x, y, width, height))
    covered = _tokens(mask, x, y, result)
    return Instance(
        mask=mask,
        box=(x, y, width, height),
        centroid=(x + moments["m10"] / area, y + moments["m01"] / area),
        area=area,
        score=calibrated(cv2.mean(levels, pixels)[0] / 255, result.odds),
        kept=tuple(int((kept & covered).sum()) for kept in result.kept),
        tokens=int(covered.sum()),
    )


def _tokens(mask: np.ndarray, x: int, y: int, result: Segmentation) -> np.ndarray:
    """Return which of the answer's tokens a mask covers, bool [gh, gw]; none without tokens."""
    if not result.kept:
        return np.zeros((0, 0), bool)
    grid = result.kept[0].shape
    # Along its longer side the image fills the encoder's square, whatever its size.
    side = max(result.levels.shape) / max(grid)
    covered = np.zeros(grid, bool)
    rows, row_starts = _cells(y, mask.shape[0], side, grid[0])
    columns, column_starts = _cells(x, mask.shape[1], side, grid[1])
    parts = np.logical_or.reduceat(np.logical_or.reduceat(mask, row_starts, 0), column_starts, 1)
    covered[np.ix_(rows, columns)] = parts
    return covered


def _cells(start: int, length: int, side: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells that a stretch of pixels meets, and where in it each begins."""
    cells = ((np.arange(start, start + length) + 0.5) / side).astype(np.int64)
    return np.unique(cells.clip(max=count - 1), return_index=True)


def _located(
    instance: Instance, view: DepthView, size: tuple[int, int], max_points: float
) -> Instance:
    """Return an instance with its place in space."""
    points = back_project(view.depth, instance.mask, instance.box, size, view.camera, max_points)
    return replace(instance, points=points, placement=place(points.xyz))


def overlap(one: Instance, other: Instance) -> float:
    """Return the intersection over union of two instances' masks in images of one size."""
    x, y = max(one.box[0], other.box[0]), max(one.box[1], other.box[1])
    right = min(one.box[0] + one.box[2], other.box[0] + other.box[2])
    bottom = min(one.box[1] + one.box[3], other.box[1] + other.box[3])
    if right <= x or bottom <= y:
        return 0.0
    both = np.logical_and(
        *(
            part.mask[y - part.box[1] : bottom - part.box[1], x - part.box[0] : right - part.box[0]]
            for part in (one, other)
        )
    )
    common = int(np.count_nonzero(both))
    return common / (one.area + other.area - common)

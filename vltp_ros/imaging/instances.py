"""The things that an answer is about, told apart. Knows nothing of ROS."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from vltp_ros.imaging.geometry import Pinhole, Placement, Points, back_project, mask_at, place
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

    depth: np.ndarray  # float32 [h, w] metres along z, NaN where unknown; of any size
    camera: Pinhole  # of the image


def separate(result: Segmentation, view: DepthView | None = None) -> tuple[Instance, ...]:
    """Return the instances of an answer, the likeliest first; none where nothing serves the task.

    They are the connected parts of the mask, each cut where the depth jumps inside it. What is
    smaller than CRUMB is left out, unless there is nothing larger.
    """
    if not result.found:
        return ()
    x, y, width, height = result.box
    levels = result.levels[y : y + height, x : x + width]
    mask = levels > result.above
    edges = None if view is None else _edges(view, result)
    labels = _labels(mask, edges, CRUMB * result.levels.size)
    instances = [_instance(result, labels == label, x, y) for label in range(1, labels.max() + 1)]
    if view is not None:
        instances = [_located(one, view, result.levels.shape) for one in instances]
    return tuple(sorted(instances, key=lambda instance: -instance.score))


def _labels(mask: np.ndarray, edges: np.ndarray | None, crumb: float) -> np.ndarray:
    """Return the number, from 1, of the part of a mask that each pixel belongs to; 0 for none.

    Args:
        mask: bool [H, W].
        edges: bool [H, W], where connected parts are cut; None: nowhere.
        crumb: pixels that a part has at least, unless none has.
    """
    parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1]
    areas = _areas(parts)
    is_large = areas >= max(min(crumb, areas.max()), SMALL * areas.max())
    if edges is None:
        return _numbered(parts, is_large)
    # Not across corners: a line of edges is to hold.
    cut = cv2.connectedComponents((mask & ~edges).astype(np.uint8), connectivity=4)[1]
    cut_areas = _areas(cut)
    of_part = np.zeros(len(cut_areas), np.int64)
    of_part[cut] = parts
    largest = np.zeros(len(areas))
    np.maximum.at(largest, of_part, cut_areas)
    stays = is_large[of_part] & (cut_areas >= SMALL_CUT * largest[of_part]) & (cut_areas > 0)
    return _filled(_numbered(cut, stays), parts)


def _areas(labels: np.ndarray) -> np.ndarray:
    """Return the pixels of each label, 0 for the background."""
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return areas


def _numbered(labels: np.ndarray, stays: np.ndarray) -> np.ndarray:
    """Return labels [H, W] with those that stay, bool for each, counted anew from 1; else 0."""
    return (np.cumsum(stays) * stays)[labels].astype(np.int32)


def _filled(labels: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Give what is left of parts after a cut the label of the nearest that stays of the same."""
    known = labels > 0
    left = np.flatnonzero((parts > 0) & ~known)
    _, nearest = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    place_of = np.zeros(nearest.max() + 1, np.int64)  # of the pixel that a number stands for
    place_of[nearest[known]] = np.flatnonzero(known)
    source = place_of[nearest.ravel()[left]]
    filled = labels.copy()
    same = parts.ravel()[source] == parts.ravel()[left]
    filled.ravel()[left] = labels.ravel()[source] * same
    return filled


def _edges(view: DepthView, result: Segmentation) -> np.ndarray | None:
    """Return where the depth jumps, bool of the size of the answer's box; None: nowhere."""
    _, _, width, height = result.box
    rows, columns = result.levels.shape
    ones = np.ones((height, width), bool)
    small, top, left = mask_at(view.depth.shape, ones, result.box, (rows, columns))
    edges = depth_edges(view.depth[top : top + small.shape[0], left : left + small.shape[1]])
    if not edges.any():
        return None
    size = (width, height)
    return cv2.resize(edges.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)


def depth_edges(depth: np.ndarray) -> np.ndarray:
    """Return the farther ones of neighbours between which the depth jumps, bool [H, W].

    Args:
        depth: float32 [H, W] metres. Where it is unknown (NaN), as it is around what stands in
            front of something for most cameras, the nearest pixel's counts.
    """
    unknown = np.isnan(depth)
    if unknown.all():
        return np.zeros(depth.shape, bool)
    if unknown.any():
        _, nearest = cv2.distanceTransformWithLabels(
            unknown.astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
        )
        known = np.zeros(nearest.max() + 1, np.float32)
        known[nearest[~unknown]] = depth[~unknown]
        depth = known[nearest]
    limit = np.maximum(STEP, RELATIVE_STEP * depth)
    edges = np.zeros(depth.shape, bool)
    for one, other in (
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
    ):
        step = depth[one] - depth[other]
        edges[one] |= step > limit[one]
        edges[other] |= -step > limit[other]
    return edges


def _instance(result: Segmentation, mask: np.ndarray, x: int, y: int) -> Instance:
    """Return the instance with a mask, bool [H, W], whose corner is at column x and row y."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = int(rows[0]), int(columns[0])
    mask = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    x, y = x + left, y + top
    height, width = mask.shape
    moments = cv2.moments(mask.astype(np.uint8), binaryImage=True)
    area = int(moments["m00"])
    levels = result.levels[y : y + height, x : x + width]
    covered = _tokens(mask, x, y, result)
    return Instance(
        mask=mask,
        box=(x, y, width, height),
        centroid=(x + moments["m10"] / area, y + moments["m01"] / area),
        area=area,
        score=calibrated(cv2.mean(levels, mask.astype(np.uint8))[0] / 255, result.odds),
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


def _located(instance: Instance, view: DepthView, shape: tuple[int, ...]) -> Instance:
    """Return an instance with its place in space."""
    points = back_project(
        view.depth, instance.mask, instance.box, (shape[0], shape[1]), view.camera
    )
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

"""Answers taken apart into the things that they are about."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vltp_ros.imaging.geometry import Pinhole
from vltp_ros.imaging.instances import (
    CRUMB,
    SMALL,
    DepthView,
    depth_edges,
    overlap,
    separate,
)
from vltp_ros.types import Segmentation

CAMERA = Pinhole(200.0, 200.0, 79.5, 59.5, 160, 120)


def blank() -> np.ndarray:
    return np.zeros((120, 160), bool)


def answer(mask: np.ndarray, levels: np.ndarray | None = None) -> Segmentation:
    """An answer with this mask; ``levels`` outside of it are below the threshold."""
    kept = (np.eye(4, dtype=bool)[:3], np.ones((3, 4), bool))
    certain = Segmentation.certain("cut", mask, kept=kept, tokens=(3, 12))
    return certain if levels is None else dataclasses.replace(certain, levels=levels)


def whole(instance, shape) -> np.ndarray:
    """The mask of an instance in the image."""
    mask = np.zeros(shape, bool)
    x, y, width, height = instance.box
    mask[y : y + height, x : x + width] = instance.mask
    return mask


def two_mugs() -> tuple[np.ndarray, np.ndarray]:
    left, right = blank(), blank()
    left[20:60, 10:40] = True
    right[70:100, 100:150] = True
    return left, right


def test_two_things_are_two_and_the_likelier_is_first():
    left, right = two_mugs()
    levels = left * np.uint8(180) + right * np.uint8(220)
    first, second = separate(answer(left | right, levels))
    assert (first.box, second.box) == ((100, 70, 50, 30), (10, 20, 30, 40))
    assert (first.centroid, second.centroid) == ((124.5, 84.5), (24.5, 39.5))
    assert (first.area, second.area) == (1500, 1200)
    assert first.score == pytest.approx(220 / 255) and second.score == pytest.approx(180 / 255)
    np.testing.assert_array_equal(whole(first, right.shape), right)
    assert first.track == 0 and first.points is None and first.placement is None


def test_the_tokens_of_an_instance_are_those_that_it_covers():
    """The image is 3 by 4 tokens of 40 pixels; the first stage keeps the diagonal."""
    left, right = two_mugs()
    instances = {one.box[0]: one for one in separate(answer(left | right))}
    assert (instances[10].tokens, instances[10].kept) == (2, (1, 2))  # rows 0 and 1, column 0
    assert (instances[100].tokens, instances[100].kept) == (4, (1, 4))  # rows 1, 2, columns 2, 3


def test_nothing_has_no_instances():
    assert separate(answer(blank())) == ()
    assert separate(answer(blank()), DepthView(np.ones((120, 160), np.float32), CAMERA)) == ()


def test_crumbs_are_left_out_unless_there_is_nothing_else():
    mask = blank()
    mask[5, 5] = True
    (crumb,) = separate(answer(mask))
    assert (crumb.box, crumb.area) == ((5, 5, 1, 1), 1)
    mask[50:60, 50:60] = True
    mask[100, 100 : 100 + int(SMALL * 100) - 1] = True
    (instance,) = separate(answer(mask))
    assert instance.area == 100 and CRUMB * mask.size > 1


def step(row: int, near: float = 1.0, far: float = 1.2) -> np.ndarray:
    """Depth that is far above a row and near below it."""
    depth = np.full((120, 160), far, np.float32)
    depth[row:] = near
    return depth


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("unknown", [0, 4])
def test_things_that_touch_are_cut_where_the_depth_jumps(scale, unknown):
    """At whatever size the depth has, and where it is unknown around the nearer thing."""
    mask = blank()
    mask[20:100, 40:80] = True
    depth = step(60)
    depth[60 - unknown : 60] = np.nan
    view = DepthView(depth[::scale, ::scale], CAMERA)
    boxes = {one.box for one in separate(answer(mask), view)}
    assert len(boxes) == 2 and {box[2] for box in boxes} == {40}
    tops = sorted(box[1] for box in boxes)
    assert tops[0] == 20 and abs(tops[1] - 60) <= 4
    assert sum(box[2] * box[3] for box in boxes) == mask.sum()  # all of the mask is somebody's


def test_each_thing_has_its_own_place():
    mask = blank()
    mask[20:100, 40:80] = True
    instances = separate(answer(mask), DepthView(step(60), CAMERA))
    distances = sorted(one.placement.position[2] for one in instances)
    np.testing.assert_allclose(distances, (1.0, 1.2), atol=1e-6)
    for one in instances:
        assert one.placement.points == len(one.points.xyz) <= one.area


def test_a_mask_that_runs_over_an_edge_is_not_two_things():
    mask = blank()
    mask[20:64, 40:80] = True  # four rows of what is behind
    depth = step(60, near=2.0, far=1.0)
    assert len(separate(answer(mask), DepthView(depth, CAMERA))) == 1


def test_depth_that_is_unknown_or_elsewhere_cuts_nothing():
    mask = blank()
    mask[20:100, 40:80] = True
    for depth in (np.full((120, 160), np.nan, np.float32), np.ones((1, 1), np.float32)):
        (instance,) = separate(answer(mask), DepthView(depth, CAMERA))
        assert instance.area == mask.sum() and instance.placement is None


def test_the_farther_side_of_a_jump_is_its_edge():
    edges = depth_edges(step(60))
    assert edges[59].all() and edges.sum() == 160
    assert not depth_edges(step(60, far=1.01)).any()  # a slope
    assert not depth_edges(step(60, near=10.0, far=10.15)).any()  # noise, at ten metres


@given(arrays(bool, (12, 16)))
def test_instances_are_the_parts_of_any_mask(mask):
    """No pixel belongs to two, and none to what is no part of the mask."""
    instances = separate(answer(mask))
    painted = sum(whole(one, mask.shape).astype(int) for one in instances)
    assert np.max(painted) <= 1 and not np.any(painted * ~mask)
    assert bool(instances) == mask.any()
    assert [one.score for one in instances] == sorted((i.score for i in instances), reverse=True)


@given(arrays(bool, (12, 16)), arrays(np.float32, (6, 8), elements=st.floats(0.5, 3, width=32)))
def test_a_cut_loses_nothing_of_what_stays(mask, depth):
    instances = separate(answer(mask), DepthView(depth, CAMERA))
    painted = sum(whole(one, mask.shape).astype(int) for one in instances)
    assert np.max(painted) <= 1 and not np.any(painted * ~mask)
    assert bool(instances) == mask.any()


def test_overlap():
    left, right = two_mugs()
    (one,), (other,) = separate(answer(left)), separate(answer(right))
    assert overlap(one, one) == 1 and overlap(one, other) == 0
    shifted = np.roll(left, 10, axis=1)
    (moved,) = separate(answer(shifted))
    expected = (left & shifted).sum() / (left | shifted).sum()
    assert overlap(one, moved) == pytest.approx(expected)

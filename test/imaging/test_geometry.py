"""Masks and depth against shapes whose place is known."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vltp_ros.imaging.geometry import MIN_POINTS, Pinhole, Points, back_project, place, quaternion

CAMERA = Pinhole(100.0, 100.0, 63.5, 47.5, 128, 96)


def points_of(depth: np.ndarray, mask: np.ndarray, camera: Pinhole = CAMERA) -> Points:
    """Back-project a mask of the image's size."""
    height, width = mask.shape
    return back_project(depth, mask, (0, 0, width, height), (height, width), camera)


def facing(x: float, y: float, z: float, width: float, height: float) -> tuple[np.ndarray, ...]:
    """Depth and mask of a rectangle that faces the camera, before a wall 3 m away."""
    rows, columns = np.mgrid[:96, :128]
    across = np.abs((columns - CAMERA.cx) * z / CAMERA.fx - x) <= width / 2
    mask = across & (np.abs((rows - CAMERA.cy) * z / CAMERA.fy - y) <= height / 2)
    return np.where(mask, z, 3.0).astype(np.float32), mask


def test_a_plate_that_faces_the_camera():
    depth, mask = facing(0.1, -0.05, 1.0, 0.4, 0.1)
    points = points_of(depth, mask)
    assert len(points.xyz) == len(points.rows) == len(points.columns)
    assert mask[points.rows, points.columns].all()
    placement = place(points.xyz)
    np.testing.assert_allclose(placement.position, (0.1, -0.05, 1.0), atol=0.006)
    assert abs(placement.axes[0, 0]) > 0.98  # the long side is horizontal
    np.testing.assert_allclose(placement.extent[:2], (0.4, 0.1), atol=0.035)  # less its edge
    assert placement.extent[2] < 0.05


def test_a_wrong_edge_and_unknown_depth_change_little():
    depth, mask = facing(0.0, 0.0, 1.0, 0.4, 0.2)
    wide = mask | np.roll(mask, 3, 1) | np.roll(mask, -3, 1)  # reaches the wall behind
    depth[46:50] = np.nan  # its middle
    placement = place(points_of(depth, wide).xyz)
    np.testing.assert_allclose(placement.position, (0, 0, 1), atol=0.01)
    np.testing.assert_allclose(placement.extent[0], 0.4, atol=0.04)


PLUMB_BOB = ((-0.3, 0.1, 0.002, -0.001, 0.0), False)
RATIONAL = ((0.5, -2.7, 0.001, 0.0, 1.6, 0.38, -2.5, 1.5), False)
FISHEYE = ((0.1, 0.05, -0.01, 0.002), True)


@pytest.mark.parametrize("lens", [PLUMB_BOB, RATIONAL, FISHEYE])
@pytest.mark.parametrize("scale", [1, 2])
def test_a_plate_through_a_lens(lens, scale):
    """Its points are drawn by OpenCV, near a corner of the image."""
    distortion, fisheye = lens
    camera = Pinhole(200.0, 205.0, 161.0, 118.0, 320, 240, distortion, fisheye)
    truth = np.array((0.45, -0.35, 1.0))
    grid = np.mgrid[-0.1:0.1:200j, -0.05:0.05:100j].reshape(2, -1)
    points = truth + np.stack((*grid, 0 * grid[0]), 1)
    matrix = np.array(((200.0, 0, 161), (0, 205, 118), (0, 0, 1)))
    project = cv2.fisheye.projectPoints if fisheye else cv2.projectPoints
    pixels, _ = project(points[:, None], np.zeros(3), np.zeros(3), matrix, np.array(distortion))
    columns, rows = np.round(pixels[:, 0]).astype(int).T
    mask = np.zeros((240, 320), bool)
    mask[rows, columns] = True
    depth = np.where(mask, 1.0, 3.0).astype(np.float32).repeat(scale, 0).repeat(scale, 1)
    placement = place(points_of(depth, mask, camera).xyz)
    np.testing.assert_allclose(placement.position, truth, atol=0.006)
    np.testing.assert_allclose(placement.extent[:2], (0.2, 0.1), atol=0.035)
    plain = place(points_of(depth, mask, replace(camera, distortion=())).xyz)
    assert np.linalg.norm(plain.position - truth) > 0.012


def test_pixels_that_no_ray_meets_have_no_points():
    """A lens whose model folds over before the corners."""
    camera = Pinhole(60.0, 60.0, 63.5, 47.5, 128, 96, (-0.35, 0.15, 0.0, 0.0, -0.03))
    everything = np.ones((96, 128), bool)
    seen = points_of(np.ones((96, 128), np.float32), everything, camera)
    points, rows, columns = seen.xyz, seen.rows, seen.columns
    assert np.isfinite(points).all() and 1000 < len(points) < 128 * 96
    assert (47, 63) in zip(rows, columns, strict=True)
    assert (1, 1) not in zip(rows, columns, strict=True)
    known, _ = cv2.projectPoints(
        points[:, None].astype(float),
        np.zeros(3),
        np.zeros(3),
        np.array(((60.0, 0, 63.5), (0, 60, 47.5), (0, 0, 1))),
        np.array(camera.distortion),
    )
    np.testing.assert_allclose(known[:, 0], np.stack((columns, rows), 1), atol=0.5)


def test_depth_of_another_size():
    depth, mask = facing(0.1, -0.05, 1.0, 0.4, 0.2)
    large = np.repeat(np.repeat(mask, 4, 0), 4, 1)
    camera = CAMERA.resized(512, 384)
    assert (camera.fx, camera.cx) == (400.0, 255.5)
    placement = place(points_of(depth, large, camera).xyz)
    np.testing.assert_allclose(placement.position, (0.1, -0.05, 1.0), atol=0.006)


def test_a_part_of_the_image_is_seen_where_it_is():
    """The mask of a box alone gives the points that the mask of the image gives, at any size."""
    depth, mask = facing(0.1, -0.05, 1.0, 0.4, 0.2)
    for factor in (1, 2, 3):
        large = np.repeat(np.repeat(mask, factor, 0), factor, 1)
        size = large.shape
        camera = CAMERA.resized(size[1], size[0])
        rows, columns = (np.flatnonzero(large.any(axis)) for axis in (1, 0))
        box = (columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1)
        part = large[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        whole, alone = points_of(depth, large, camera), back_project(depth, part, box, size, camera)
        np.testing.assert_array_equal(whole.xyz, alone.xyz)
        np.testing.assert_array_equal(whole.rows, alone.rows)


@given(st.integers(20, 90), st.integers(20, 40), st.floats(-1.5, 1.5), st.integers(100, 1000))
def test_fewer_points_lie_as_all_do(length, width, angle, most):
    """A pan of any size and angle has its place, and its handle, to what lies between points."""
    camera = Pinhole(400.0, 400.0, 159.5, 119.5, 320, 240)
    image = np.zeros((240, 320), np.uint8)
    end = (int(160 + 110 * math.cos(angle)), int(120 + 110 * math.sin(angle)))
    cv2.ellipse(image, (160, 120), (length, width), math.degrees(angle), 0, 360, 1, -1)
    cv2.line(image, (160, 120), end, 1, 9)
    mask, depth = image.astype(bool), np.full((240, 320), 2.0, np.float32)
    points = points_of(depth, mask, camera)
    fewer = back_project(depth, mask, (0, 0, 320, 240), (240, 320), camera, most)
    assert len(fewer.xyz) <= 1.1 * most
    seen = {*zip(points.rows, points.columns, strict=True)}
    assert seen.issuperset(zip(fewer.rows, fewer.columns, strict=True))
    all_of_it, part_of_it = place(points.xyz), place(fewer.xyz)
    apart = 2.0 / camera.fx * math.sqrt(len(points.xyz) / len(fewer.xyz))
    np.testing.assert_allclose(part_of_it.position, all_of_it.position, atol=apart)
    np.testing.assert_allclose(part_of_it.extent, all_of_it.extent, atol=3 * apart)


@given(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(0.5, 3.0), st.floats(-1.5, 1.5))
def test_a_stick_at_any_angle(x, y, z, angle):
    """The first axis is the stick's, the second one across it, the third one away."""
    along = np.linspace(-0.2, 0.2, 41)
    stick = np.stack([along * np.cos(angle), along * np.sin(angle), 0 * along], 1)
    across = np.array((-np.sin(angle), np.cos(angle), 0))
    middle = np.array((x, y, z))
    points = np.concatenate([stick + middle + 0.01 * side * across for side in (-1, 0, 1)])
    placement = place(points)
    np.testing.assert_allclose(placement.position, middle, atol=1e-9)
    axes, away = placement.axes, middle / np.linalg.norm(middle)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert np.isclose(np.linalg.det(axes), 1)
    np.testing.assert_allclose(axes[:, 2], away, atol=1e-9)
    assert placement.extent[0] > 5 * placement.extent[1]
    projected = (np.cos(angle), np.sin(angle), 0) @ (np.eye(3) - np.outer(away, away))
    assert abs(axes[:, 0] @ projected) > 0.99 * np.linalg.norm(projected)


def test_too_few_points():
    assert place(np.zeros((MIN_POINTS - 1, 3))) is None
    depth, mask = facing(0.0, 0.0, 1.0, 0.2, 0.2)
    assert points_of(depth, np.zeros_like(mask)).xyz.shape == (0, 3)
    assert points_of(np.full_like(depth, np.nan), mask).xyz.shape == (0, 3)


@pytest.mark.parametrize("broken", [{"fx": 0.0}, {"fy": float("nan")}, {"width": 0}])
def test_an_uncalibrated_camera_is_refused(broken):
    values = {"fx": 1.0, "fy": 1.0, "cx": 0.0, "cy": 0.0, "width": 2, "height": 2} | broken
    with pytest.raises(ValueError, match="not calibrated"):
        Pinhole(**values)


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.dot(q, q) > 0.01))
def test_quaternions_turn_as_their_matrix(values):
    x, y, z, w = np.array(values) / np.linalg.norm(values)
    matrix = np.array(
        (
            (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
            (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
            (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
        )
    )
    result = quaternion(matrix)
    assert result[3] >= 0
    assert abs(np.dot(result, (x, y, z, w))) == pytest.approx(1)

"""Masks and depth against shapes whose place is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vltp_ros.imaging.geometry import MIN_POINTS, Pinhole, back_project, place, quaternion

CAMERA = Pinhole(100.0, 100.0, 63.5, 47.5, 128, 96)


def facing(x: float, y: float, z: float, width: float, height: float) -> tuple[np.ndarray, ...]:
    """Depth and mask of a rectangle that faces the camera, before a wall 3 m away."""
    rows, columns = np.mgrid[:96, :128]
    across = np.abs((columns - CAMERA.cx) * z / CAMERA.fx - x) <= width / 2
    mask = across & (np.abs((rows - CAMERA.cy) * z / CAMERA.fy - y) <= height / 2)
    return np.where(mask, z, 3.0).astype(np.float32), mask


def test_a_plate_that_faces_the_camera():
    depth, mask = facing(0.1, -0.05, 1.0, 0.4, 0.1)
    points, rows, columns = back_project(depth, mask, CAMERA)
    assert len(points) == len(rows) == len(columns)
    placement = place(points)
    np.testing.assert_allclose(placement.position, (0.1, -0.05, 1.0), atol=0.006)
    assert abs(placement.axes[0, 0]) > 0.98  # the long side is horizontal
    np.testing.assert_allclose(placement.extent[:2], (0.4, 0.1), atol=0.035)  # less its edge
    assert placement.extent[2] < 0.05


def test_a_wrong_edge_and_unknown_depth_change_little():
    depth, mask = facing(0.0, 0.0, 1.0, 0.4, 0.2)
    wide = mask | np.roll(mask, 3, 1) | np.roll(mask, -3, 1)  # reaches the wall behind
    depth[46:50] = np.nan  # its middle
    placement = place(back_project(depth, wide, CAMERA)[0])
    np.testing.assert_allclose(placement.position, (0, 0, 1), atol=0.01)
    np.testing.assert_allclose(placement.extent[0], 0.4, atol=0.04)


def test_depth_of_another_size():
    depth, mask = facing(0.1, -0.05, 1.0, 0.4, 0.2)
    large = np.repeat(np.repeat(mask, 4, 0), 4, 1)
    camera = CAMERA.resized(512, 384)
    assert (camera.fx, camera.cx) == (400.0, 255.5)
    placement = place(back_project(depth, large, camera)[0])
    np.testing.assert_allclose(placement.position, (0.1, -0.05, 1.0), atol=0.006)


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
    assert back_project(depth, np.zeros_like(mask), CAMERA)[0].shape == (0, 3)
    assert back_project(np.full_like(depth, np.nan), mask, CAMERA)[0].shape == (0, 3)


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

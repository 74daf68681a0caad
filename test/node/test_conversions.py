"""Messages of pixels and answers, and pixels out of them again."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from std_msgs.msg import Header

from vltp_ros.imaging.geometry import Pinhole, Placement
from vltp_ros.imaging.images import draw_kept, to_rgb
from vltp_ros.imaging.instances import DepthView, separate
from vltp_ros.imaging.messages import affordance_fields, instance_fields
from vltp_ros.msg import AffordanceInstance, AffordanceMask, Task
from vltp_ros.node.conversions import to_affordance, to_image, to_instance
from vltp_ros.types import Segmentation


def test_floats_become_32fc1():
    pixels = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    sent = to_image(pixels, Header())
    assert (sent.encoding, sent.step, sent.is_bigendian) == ("32FC1", 32, 0)
    np.testing.assert_array_equal(np.frombuffer(sent.data, "<f4").reshape(6, 8), pixels)


@given(st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_images_there_and_back(width, height, colour):
    shape = (height, width, 3) if colour else (height, width)
    pixels = np.arange(math.prod(shape), dtype=np.uint8).reshape(shape)
    header = Header(frame_id="eye")
    sent = to_image(pixels, header)
    assert sent.header == header
    expected = pixels if colour else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    np.testing.assert_array_equal(to_rgb(sent, "image"), expected)


def segmentation(mask: np.ndarray) -> Segmentation:
    kept = (np.eye(3, dtype=bool), np.ones((3, 3), bool))
    times = {"encode": 2.0}
    return Segmentation.certain("cut", mask, 0.75, kept=kept, times_ms=times, tokens=(4, 10))


def test_affordance_describes_its_mask():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    header = Header(frame_id="eye")
    sent = to_affordance(segmentation(mask), [], header, Task(id=3, text="cut"), "tabletop")
    fields = affordance_fields(segmentation(mask), "cut", 3, "tabletop")
    AffordanceMask(check_fields=True, **fields)  # as with ROS_PYTHON_CHECK_FIELDS=1
    box = sent.box
    assert (box.x_offset, box.y_offset, box.width, box.height) == (2, 1, 5, 3)
    assert (sent.centroid_x, sent.centroid_y, sent.area, sent.found) == (4, 2, 15, True)
    assert segmentation(mask).label == "cut: 0.75"
    assert (sent.task, sent.id, sent.model, sent.score) == ("cut", 3, "tabletop", 0.75)
    assert (list(sent.kept_tokens), sent.total_tokens) == ([3, 9], 9)
    assert sent.header == header and not sent.mask.data


def test_an_instance_has_its_own_mask_and_its_place():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    header = Header(frame_id="eye")
    depth = np.full((6, 8), 2.0, np.float32)
    view = DepthView(depth, Pinhole(4.0, 4.0, 3.5, 2.5, 8, 6))
    (instance,) = separate(segmentation(mask), view)
    sent = to_instance(instance, header)
    AffordanceInstance(check_fields=True, **instance_fields(instance))
    assert (sent.id, sent.score, sent.area) == (0, 1.0, 15)
    assert (sent.box.x_offset, sent.box.y_offset) == (2, 1)
    assert (list(sent.kept_tokens), sent.total_tokens) == ([2, 6], 6)
    assert sent.mask.header == header
    assert to_rgb(sent.mask, "mask").shape == (3, 5, 3) and set(sent.mask.data) == {255}
    assert (sent.located, sent.points) == (False, 0)  # 3 points say nothing
    far = replace(instance, placement=Placement(np.ones(3), np.eye(3), np.zeros(3), 40))
    sent = to_instance(far, header)
    assert (sent.located, sent.points, sent.pose.position.z) == (True, 40, 1.0)
    assert sent.pose.orientation.w == 1.0


def test_affordance_of_nothing():
    sent = to_affordance(segmentation(np.zeros((6, 8), bool)), [], Header(), Task(), "tabletop")
    assert sent.area == sent.box.width == sent.box.height == 0 and sent.found is False
    assert segmentation(np.zeros((6, 8), bool)).label == "cut: nothing here serves this, 0.75"
    assert math.isnan(sent.centroid_x) and math.isnan(sent.centroid_y)


def test_kept_is_grey_by_the_share_of_stages():
    kept = draw_kept((np.eye(3, dtype=bool), np.ones((3, 3), bool)), (6, 9))
    assert kept.shape == (6, 9)
    assert kept[0, 0] == 255
    assert kept[0, 8] == 128
    assert (draw_kept((), (2, 2)) == 255).all()

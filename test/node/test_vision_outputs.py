"""Detections and label images for packages that know nothing of this one."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from bench import Camera, start
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from vltp_ros.imaging.images import to_rgb
from vltp_ros.msg import AffordanceMask, Task, TaskList
from vltp_ros.node.conversions import to_image
from vltp_ros.node.qos import NEWEST
from vltp_ros.node.vision_outputs import label_images
from vltp_ros.types import Segmentation

PIXELS = np.zeros((48, 64, 3), np.uint8)
PIXELS[10:20, 30:50, 0] = 200  # serves what is red …
PIXELS[30:40, 4:14, 0] = 200
PIXELS[24:30, 40:60, 1] = 200  # … and what is green
INFO = CameraInfo(width=64, height=48, k=[100.0, 0.0, 31.5, 0.0, 100.0, 23.5, 0.0, 0.0, 1.0])
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def header(second: int) -> Header:
    of_camera = Header(frame_id="eye")
    of_camera.stamp.sec = second
    return of_camera


def test_what_other_packages_take(bench, vision, make_vltp):
    """In their own qualities of service: labels are latched, images sensor data."""
    start(make_vltp(depth=True))
    publisher = bench.node.create_publisher(TaskList, "tasks", NEWEST)
    tasks = TaskList(tasks=[Task(id=900, text="red"), Task(id=901, text="green")])
    camera = Camera(bench, make=lambda second: to_image(PIXELS, header(second)))
    depth = np.full((48, 64), 2.0, np.float32)
    depths = Camera(bench, "depth", make=lambda second: to_image(depth, header(second)))
    infos = Camera(bench, "camera_info", kind=CameraInfo, make=lambda _: INFO)
    flat = bench.listen(vision.Detection2DArray, "vltp/detections")
    solid = bench.listen(vision.Detection3DArray, "vltp/detections_3d")
    masks = bench.listen(Image, "vltp/label_mask", qos_profile_sensor_data)
    levels = bench.listen(Image, "vltp/label_confidence", qos_profile_sensor_data)
    answers = bench.listen(AffordanceMask, "vltp/instances")

    def send():
        publisher.publish(tasks)
        for publish in (infos, depths, camera):
            publish()

    def are_there():
        return all(kind and len(kind[-1].detections) == 3 for kind in (flat, solid)) and levels

    bench.wait(are_there, meanwhile=send)
    detections = {one.id: one for one in flat[-1].detections}
    assert sorted(one.results[0].hypothesis.class_id for one in detections.values()) == [
        "green",
        "red",
        "red",
    ]
    large = next(
        one for one in detections.values() if one.bbox.size_x == 20 and one.bbox.size_y == 10
    )
    assert (large.bbox.center.position.x, large.bbox.center.position.y) == (40, 15)
    assert large.results[0].hypothesis.score == pytest.approx(128 / 255)
    assert large.header.frame_id == flat[-1].header.frame_id == "eye"
    assert set(detections) <= {str(one.id) for answer in answers for one in answer.instances}
    places = {one.id: one.bbox.center.position.z for one in solid[-1].detections}
    assert places == pytest.approx(dict.fromkeys(detections, 2.0))
    assert large.results[0].pose.pose.position.z == pytest.approx(2.0)

    expected = np.zeros((48, 64), np.uint8)
    expected[PIXELS[..., 0] > 0], expected[PIXELS[..., 1] > 0] = 1, 2
    np.testing.assert_array_equal(to_rgb(masks[-1], "")[..., 0], expected)
    np.testing.assert_array_equal(to_rgb(levels[-1], "")[..., 0], (expected > 0) * 128)
    names = bench.listen(vision.LabelInfo, "vltp/label_info", LATCHED)  # long after the first
    bench.wait(lambda: names)
    assert [(c.class_id, c.class_name) for c in names[-1].class_map] == [(1, "red"), (2, "green")]
    assert names[-1].threshold == pytest.approx(127 / 255)


def test_without_the_package_one_line_says_so(bench, make_vltp, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "vision_msgs.msg", None)
    start(make_vltp(cameras=["front", "wrist"]))
    masks = bench.listen(Image, "vltp/front/mask")
    bench.wait(lambda: masks, meanwhile=Camera(bench, "front/image"))
    assert "vltp/front/detections" not in str(bench.node.get_topic_names_and_types())
    assert capfd.readouterr().err.count("ros-$ROS_DISTRO-vision-msgs") == 1


def test_of_tasks_that_share_a_pixel_the_likelier_one_has_it():
    mask = np.ones((1, 2), bool)
    sure = Segmentation.certain("a", mask)
    results = [
        Segmentation(**vars(sure) | {"levels": np.uint8([[200, 130]])}),
        Segmentation(**vars(sure) | {"levels": np.uint8([[180, 140]])}),
    ]
    labels, levels = label_images(results)
    assert labels.tolist() == [[1, 2]] and levels.tolist() == [[200, 140]]

"""What the node publishes: with the image's header, and only while somebody listens."""

from __future__ import annotations

import numpy as np
import pytest
from bench import Camera, start
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from vltp_ros.imaging.images import to_rgb
from vltp_ros.msg import AffordanceMask, InferenceTiming, Task, TaskList
from vltp_ros.node import conversions
from vltp_ros.node.conversions import to_image
from vltp_ros.node.qos import LEASE_SECONDS, NEWEST

PIXELS = np.zeros((48, 64, 3), np.uint8)
PIXELS[10:20, 30:50, 0] = 200
PIXELS[15:30, 5:35, 1] = 200
UNION = PIXELS.any(2)


def coloured_image(second: int) -> Image:
    header = Header(frame_id="eye")
    header.stamp.sec = second
    return to_image(PIXELS, header)


@pytest.fixture
def camera(bench):
    return Camera(bench, make=coloured_image)


@pytest.fixture
def two_tasks(bench):
    publisher = bench.node.create_publisher(TaskList, "tasks", NEWEST)
    message = TaskList(tasks=[Task(id=1, text="red"), Task(id=2, text="green")])
    return lambda: publisher.publish(message)


def test_pictures_show_all_tasks(bench, vltp, camera, two_tasks):
    start(vltp)
    bench.wait(lambda: len(vltp._tasks.current) == 2, meanwhile=two_tasks)
    names = ("mask", "probability", "overlay", "kept")
    pictures = {name: bench.listen(Image, f"vltp/{name}") for name in names}
    bench.wait(lambda: all(pictures.values()), meanwhile=camera)
    for messages in pictures.values():
        assert all(message.header.frame_id == "eye" for message in messages)
        assert {message.header.stamp.sec for message in messages} <= set(range(camera.sent + 1))
    np.testing.assert_array_equal(to_rgb(pictures["mask"][0], "")[..., 0], UNION * np.uint8(255))
    probability = pictures["probability"][0]
    assert (probability.encoding, probability.step) == ("32FC1", 4 * 64)
    probabilities = np.frombuffer(probability.data, "<f4").reshape(48, 64)
    np.testing.assert_allclose(probabilities, UNION * 128 / 255, atol=1e-6)
    painted = to_rgb(pictures["overlay"][0], "")
    red, green = painted[12, 45].astype(int), painted[25, 10].astype(int)
    assert abs(red - green).max() > 60
    np.testing.assert_array_equal(painted[40, 60], 0)


def test_each_thing_has_a_number_that_stays_and_a_colour(bench, vltp):
    """Two things serve one task; their masks are of their boxes' size."""

    def moving(second):
        pixels = np.zeros((96, 128, 3), np.uint8)
        pixels[20:40, 10 + 2 * second : 40 + 2 * second, 0] = 200
        pixels[60:80, 60:110, 0] = 200
        header = Header(frame_id="eye")
        header.stamp.sec = second
        return to_image(pixels, header)

    start(vltp)
    answers = bench.listen(AffordanceMask, "vltp/instances")
    overlays = bench.listen(Image, "vltp/overlay")
    bench.wait(lambda: len(answers) >= 4 and overlays, meanwhile=Camera(bench, make=moving))
    for answer in answers:
        assert not answer.mask.data and answer.area == 30 * 20 + 50 * 20
        assert {(one.id, one.box.width) for one in answer.instances} == {(1, 30), (2, 50)}
        assert all(len(i.mask.data) == i.box.width * i.box.height for i in answer.instances)
    columns = {one.box.x_offset for answer in answers for one in answer.instances if one.id == 1}
    assert len(columns) == len(answers)
    painted = to_rgb(overlays[0], "")
    second = overlays[0].header.stamp.sec
    left, right = painted[30, 25 + 2 * second].astype(int), painted[70, 85].astype(int)
    assert abs(left - right).max() > 60


def test_what_nobody_hears_in_full_is_small(bench, make_vltp):
    """Sixteen tasks at 1080p, while somebody hears of instances and nobody of whole masks."""

    def large(second):
        pixels = np.zeros((1080, 1920, 3), np.uint8)
        pixels[270:540, 480:960, 0] = 200
        header = Header(frame_id="eye")
        header.stamp.sec = second
        return to_image(pixels, header)

    start(make_vltp())
    publisher = bench.node.create_publisher(TaskList, "tasks", NEWEST)
    tasks = TaskList(tasks=[Task(id=i, text=f"cut {i}") for i in range(16)])
    answers = bench.listen(AffordanceMask, "vltp/instances", 32)
    camera = Camera(bench, make=large)

    def send():
        publisher.publish(tasks)
        camera()

    def of_one_image():
        stamps = [answer.header.stamp.sec for answer in answers]
        whole = [stamp for stamp in stamps if stamps.count(stamp) == 16]
        return [a for a in answers if whole and a.header.stamp.sec == whole[0]]

    bench.wait(of_one_image, meanwhile=send)
    assert sum(len(serialize_message(answer)) for answer in of_one_image()) < 4e6


def test_subscribers_may_ask_to_be_told_of_a_node_that_is_late_or_gone(bench, make_vltp, camera):
    """What they ask for is offered: without a match nothing would come."""
    start(make_vltp(output_deadline=1.0))
    quality = QoSProfile(
        depth=1,
        deadline=Duration(seconds=1.0),
        liveliness_lease_duration=Duration(seconds=LEASE_SECONDS),
    )
    late = []
    events = SubscriptionEventCallbacks(deadline=late.append)
    masks, promised = [], bench.listen(AffordanceMask, "vltp/affordance", quality)
    bench.node.create_subscription(
        Image, "vltp/mask", masks.append, quality, event_callbacks=events
    )
    bench.wait(lambda: masks and promised, meanwhile=camera)
    bench.wait(lambda: late)  # no image comes any more


def test_nothing_is_computed_that_nobody_listens_to(bench, vltp, camera, monkeypatch):
    computed = []
    to_message = conversions.to_image
    monkeypatch.setattr(
        conversions, "to_image", lambda *args: computed.append(args) or to_message(*args)
    )
    start(vltp)
    timings = bench.listen(InferenceTiming, "vltp/timing")
    bench.wait(lambda: timings, meanwhile=camera)
    assert not computed
    affordances = bench.listen(AffordanceMask, "vltp/affordance")
    bench.wait(lambda: affordances, meanwhile=camera)
    assert computed


def test_timing_tells_queueing_and_age(bench, vltp):
    def image_of_now(_):
        return to_image(PIXELS, Header(stamp=bench.node.get_clock().now().to_msg()))

    start(vltp)
    timings = bench.listen(InferenceTiming, "vltp/timing")
    bench.wait(lambda: timings, meanwhile=Camera(bench, make=image_of_now))
    stages = {stage.name: stage.milliseconds for stage in timings[-1].stages}
    assert list(stages) == ["queue", "convert", "encode", "publish"]
    assert all(value >= 0 for value in stages.values())
    assert 0 < timings[-1].total_ms <= timings[-1].latency_ms
    assert (timings[-1].model, timings[-1].device) == ("fake", "no device")


def test_the_age_of_what_the_language_model_thought(bench, make_vltp, camera):
    start(make_vltp(reuse_max_age=5.0))
    affordances = bench.listen(AffordanceMask, "vltp/affordance")
    bench.wait(lambda: affordances, meanwhile=camera)
    assert (affordances[0].seg_age.sec, affordances[0].seg_age.nanosec) == (1, 0)

"""The node over real DDS: what goes in comes out, and nothing that goes in brings it down."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from bench import PIXELS, diagnosis, good_image, start, values
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fake_session import FakeSession
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vltp_ros.imaging.images import to_rgb
from vltp_ros.msg import AffordanceMask, InferenceTiming, Task, TaskList
from vltp_ros.node.qos import NEWEST


@pytest.fixture
def tasks(bench):
    return bench.node.create_publisher(String, "task", NEWEST)


def test_an_image_comes_back_as_a_mask(bench, vltp, camera):
    masks, affordances, timings, overlays, kept = (
        bench.listen(kind, f"vltp/{name}")
        for kind, name in (
            (Image, "mask"),
            (AffordanceMask, "affordance"),
            (InferenceTiming, "timing"),
            (Image, "overlay"),
            (Image, "kept"),
        )
    )
    start(vltp)
    bench.wait(lambda: masks and timings and overlays and kept, meanwhile=camera)
    mask, affordance, timing, overlay = masks[-1], affordances[-1], timings[-1], overlays[-1]

    assert mask.encoding == "mono8"
    assert mask.header.frame_id == overlay.header.frame_id == "eye"
    assert 1 <= mask.header.stamp.sec <= camera.sent
    assert {m.header.stamp.sec for m in masks} >= {a.header.stamp.sec for a in affordances[:-1]}
    np.testing.assert_array_equal(to_rgb(mask, "mask"), 255 * (PIXELS[..., [0, 0, 0]] > 0))

    assert affordance.task == timing.tasks[0].text == "cut bread"
    assert affordance.box.width == 20 and affordance.area == 200
    assert (list(affordance.kept_tokens), affordance.total_tokens) == ([4, 10], 16)
    assert [stage.name for stage in timing.stages] == [
        "queue",
        "convert",
        "encode",
        "publish",
    ]
    assert timing.received >= 1 and timing.total_ms > 0
    assert overlay.encoding == "rgb8" and to_rgb(overlay, "overlay").shape == PIXELS.shape
    assert kept[-1].encoding == "mono8" and (kept[-1].height, kept[-1].width) == (48, 64)


BAD_IMAGES = {
    "unknown encoding": {"encoding": "h264"},
    "small step": {"step": 10},
    "0x0": {"width": 0, "height": 0},
    "truncated": {"height": 480},
}


@pytest.mark.parametrize("change", BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_a_bad_image_is_reported_and_the_next_one_answered(bench, vltp, camera, change):
    start(vltp)
    bad = good_image(1000)
    for name, value in change.items():
        setattr(bad, name, value)
    masks = bench.listen(Image, "vltp/mask")
    received = bench.listen(DiagnosticArray, "/diagnostics")

    def reported():
        return [a.status[0] for a in received if a.status[0].message.startswith("/image: ")]

    bench.wait(reported, meanwhile=lambda: camera(bad))
    assert reported()[-1].level == DiagnosticStatus.WARN
    bench.wait(lambda: masks, meanwhile=camera)
    assert all(mask.header.stamp.sec != 1000 for mask in masks)


def test_images_of_an_impossible_or_a_far_time_are_refused(bench, make_vltp, camera):
    vltp = make_vltp(max_image_age=2.0)
    start(vltp, task="cut")
    masks = bench.listen(Image, "vltp/mask")
    now = vltp.get_clock().now().seconds_nanoseconds()[0]
    for seconds, words in ((-5, "before all time"), (now - 60, "s old; max_image_age is 2"),
                           (now + 600, "s in the future; max_image_age is 2")):  # fmt: skip
        image = good_image(seconds)
        diagnosis(
            bench,
            lambda status, words=words: words in status.message,
            meanwhile=lambda image=image: camera(image),
        )
    assert not masks

    def send():
        image = good_image(0)
        image.header.stamp = vltp.get_clock().now().to_msg()
        camera(image)

    bench.wait(lambda: masks, meanwhile=send)


def test_a_failing_model_is_reported_and_the_next_task_answered(bench, vltp, camera):
    start(vltp, task="break")
    received = bench.listen(DiagnosticArray, "/diagnostics")

    def reported():
        return [a.status[0] for a in received if "broken on request" in a.status[0].message]

    bench.wait(reported, meanwhile=camera)
    assert reported()[-1].level == DiagnosticStatus.ERROR
    vltp.set_parameters([Parameter("task", value="cut bread")])
    masks = bench.listen(Image, "vltp/mask")
    bench.wait(lambda: masks, meanwhile=camera)


def test_a_task_that_the_model_fails_on_costs_the_others_nothing(bench, vltp, camera):
    start(vltp)
    publisher = bench.node.create_publisher(TaskList, "tasks", NEWEST)
    tasks = [Task(id=7, text="cut"), Task(id=8, text="break"), Task(id=9, text="pour")]
    answers = bench.listen(AffordanceMask, "vltp/affordance", 50)

    def both():
        return {answer.id for answer in answers} >= {7, 9}

    def send():
        publisher.publish(TaskList(tasks=tasks))
        camera()

    bench.wait(both, meanwhile=send)
    told = diagnosis(bench, lambda status: "broken on request" in status.message, meanwhile=send)
    assert told.message.startswith("task 8: ") and told.level == DiagnosticStatus.ERROR
    assert 8 not in {answer.id for answer in answers}


def test_tasks_from_the_topic(bench, vltp, camera, tasks):
    start(vltp)
    affordances = bench.listen(AffordanceMask, "vltp/affordance")

    def answered(task):
        return lambda: affordances and affordances[-1].task == task

    bench.wait(
        answered("pour"),
        meanwhile=lambda: (tasks.publish(String(data=" pour ")), camera()),
    )
    task_id = affordances[-1].id
    for refused in ("", "  ", "x" * 10_000):
        tasks.publish(String(data=refused))
    status = diagnosis(bench, lambda status: "/task: task" in status.message)
    assert status.level == DiagnosticStatus.WARN
    affordances.clear()
    bench.wait(answered("pour"), meanwhile=camera)
    assert affordances[-1].id == task_id


def test_only_the_newest_image_is_kept(bench, vltp, camera, monkeypatch):
    gate = threading.Event()
    answer = FakeSession.segment

    def wait_then_answer(self, image, tasks, **video):
        gate.wait(10)
        return answer(self, image, tasks, **video)

    monkeypatch.setattr(FakeSession, "segment", wait_then_answer)
    start(vltp)
    masks = bench.listen(Image, "vltp/mask")
    timings = bench.listen(InferenceTiming, "vltp/timing")
    bench.wait(lambda: camera.sent > 10, meanwhile=camera)
    counts = values(diagnosis(bench, bool, "/image"))
    dropped = int(counts["dropped"])
    assert dropped == int(counts["received"]) - 2  # one in work, one waiting
    gate.set()
    bench.wait(lambda: len(timings) == 2 and len(masks) == 2)
    assert masks[-1].header.stamp.sec == camera.sent
    assert timings[-1].dropped == dropped
    assert [timing.dropped_since_last for timing in timings] == [dropped, 0]

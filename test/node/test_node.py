"""The node over real DDS: what goes in comes out, and nothing that goes in brings it down."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fake_session import FakeSession
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, SetParametersAtomically
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from vltp_ros.msg import AffordanceMask, InferenceTiming
from vltp_ros.node.conversions import to_image, to_rgb
from vltp_ros.node.node import VltpNode
from vltp_ros.node.qos import LATCHED, NEWEST, NEWEST_BEST_EFFORT

PIXELS = np.zeros((48, 64, 3), np.uint8)
PIXELS[10:20, 30:50, 0] = 200


def good_image(second: int) -> Image:
    header = Header(frame_id="eye")
    header.stamp.sec = second
    return to_image(PIXELS, header)


class Camera:
    """Publishes an image with a new stamp at each call."""

    def __init__(self, bench):
        self._publisher = bench.node.create_publisher(Image, "image", NEWEST)
        self.sent = 0

    def __call__(self, message: Image | None = None):
        self.sent += 1
        self._publisher.publish(message or good_image(self.sent))


@pytest.fixture
def camera(bench):
    return Camera(bench)


@pytest.fixture
def tasks(bench):
    return bench.node.create_publisher(String, "task", NEWEST)


def start(vltp, task="cut bread"):
    """Configure and activate the node, and give it a task."""
    vltp.set_parameters([Parameter("task", value=task)])
    assert vltp.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert vltp.trigger_activate() == TransitionCallbackReturn.SUCCESS


def change_state(bench, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bench.call(ChangeState, "vltp/change_state", request).success


def state(bench) -> str:
    return bench.call(GetState, "vltp/get_state", GetState.Request()).current_state.label


def diagnosis(bench, condition):
    """The next status of the node for which ``condition`` holds."""
    received = bench.listen(DiagnosticArray, "/diagnostics")
    bench.wait(lambda: any(condition(array.status[0]) for array in received))
    return next(array.status[0] for array in received if condition(array.status[0]))


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

    assert affordance.task == timing.task == "cut bread"
    assert affordance.box.width == 20 and affordance.area == 200
    assert (list(affordance.kept_tokens), affordance.total_tokens) == ([4, 10], 16)
    assert [stage.name for stage in timing.stages] == ["convert", "encode", "publish"]
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


def test_a_failing_model_is_reported_and_the_next_task_answered(bench, vltp, camera):
    start(vltp, task="break")
    received = bench.listen(DiagnosticArray, "/diagnostics")
    bench.wait(
        lambda: any("broken on request" in a.status[0].message for a in received), meanwhile=camera
    )
    vltp.set_parameters([Parameter("task", value="cut bread")])
    masks = bench.listen(Image, "vltp/mask")
    bench.wait(lambda: masks, meanwhile=camera)


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
    active = bench.listen(String, "vltp/active_task", LATCHED)
    bench.wait(lambda: active and active[-1].data == "pour")


def test_only_the_newest_image_is_kept(bench, vltp, camera, monkeypatch):
    gate = threading.Event()
    answer = FakeSession.segment

    def wait_then_answer(self, image, tasks):
        gate.wait(10)
        return answer(self, image, tasks)

    monkeypatch.setattr(FakeSession, "segment", wait_then_answer)
    start(vltp)
    masks = bench.listen(Image, "vltp/mask")
    timings = bench.listen(InferenceTiming, "vltp/timing")
    bench.wait(lambda: camera.sent > 10, meanwhile=camera)
    values = {value.key: value.value for value in diagnosis(bench, bool).values}
    assert int(values["dropped"]) == int(values["received"]) - 2  # one in work, one waiting
    gate.set()
    bench.wait(lambda: len(timings) == 2 and len(masks) == 2)
    assert masks[-1].header.stamp.sec == camera.sent
    assert timings[-1].dropped == int(values["dropped"])


def test_lifecycle(bench, vltp, camera):
    start(vltp)
    masks = bench.listen(Image, "vltp/mask")
    bench.wait(lambda: masks, meanwhile=camera)
    assert (state(bench), FakeSession.open) == ("active", 1)

    assert change_state(bench, Transition.TRANSITION_DEACTIVATE)
    masks.clear()
    for _ in range(5):
        camera()
    diagnosis(bench, lambda status: status.message == "inactive")
    assert not masks and FakeSession.open == 1

    assert change_state(bench, Transition.TRANSITION_CLEANUP)
    assert (state(bench), FakeSession.open) == ("unconfigured", 0)
    assert change_state(bench, Transition.TRANSITION_CONFIGURE)
    assert change_state(bench, Transition.TRANSITION_ACTIVATE)
    bench.wait(lambda: masks, meanwhile=camera)
    assert change_state(bench, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert (state(bench), FakeSession.open) == ("finalized", 0)


def test_a_missing_model_leaves_the_node_up(bench, vltp, monkeypatch):
    def fail(*_, **__):
        raise ValueError("/missing: not a model directory")

    monkeypatch.setattr(vltp, "_load", fail)
    assert vltp.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert state(bench) == "unconfigured"
    status = diagnosis(bench, lambda status: "/missing" in status.message)
    assert status.level == DiagnosticStatus.ERROR
    monkeypatch.setattr(vltp, "_load", FakeSession.load)
    assert vltp.trigger_configure() == TransitionCallbackReturn.SUCCESS


def test_a_publisher_that_does_not_match_is_reported(bench):
    options = [Parameter("model", value="/fake"), Parameter("reliable_images", value=True)]
    vltp = bench.add(VltpNode(FakeSession.load, parameter_overrides=options))
    start(vltp)
    bench.node.create_publisher(Image, "image", NEWEST_BEST_EFFORT)
    status = diagnosis(bench, lambda status: "quality of service" in status.message)
    assert "reliability" in status.message


def set_parameters(bench, **values):
    """Set parameters as `ros2 param set` does; the result."""
    parameters = [Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
    request = SetParametersAtomically.Request(parameters=parameters)
    return bench.call(SetParametersAtomically, "vltp/set_parameters_atomically", request).result


def test_parameters_change_while_the_node_runs(bench, vltp):
    start(vltp)
    session = vltp._session
    assert set_parameters(bench, rates=[0.5, 0.8], threshold=0.4, task="pour").successful
    assert (session.rates, session.threshold) == ((0.5, 0.8), 0.4)
    assert vltp.config.task == "pour"
    assert set_parameters(bench, threshold=-1.0).successful
    assert session.threshold == FakeSession.threshold


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rates": [0.5]}, "rates has 1 values"),
        ({"rates": [0.5, 1.0]}, "1.0; it must be at most 0.99"),
        ({"rates": [0.5, -0.1]}, "-0.1; it must be at least 0"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": "high"}, "type"),
        ({"task": "x" * 10_000}, "10000 characters"),
        ({"task": ""}, "task is ''"),
        ({"device": "cuda"}, "read-only"),
        ({"model": "/elsewhere"}, "read-only"),
        ({"task": "pour", "overlay_alpha": 2.0}, "overlay_alpha"),
    ],
)
def test_refused_parameters_change_nothing(vltp, values, words):
    start(vltp)
    before = vltp.config
    result = vltp.set_parameters_atomically([Parameter(k, value=v) for k, v in values.items()])
    assert not result.successful
    assert words in result.reason
    assert vltp.config == before
    assert vltp._session.rates == ()


def test_parameters_are_described(bench, vltp):
    request = DescribeParameters.Request(names=["overlay_alpha", "device", "threads"])
    alpha, device, threads = bench.call(
        DescribeParameters, "vltp/describe_parameters", request
    ).descriptors
    assert alpha.description and alpha.floating_point_range[0].to_value == 1.0
    assert device.read_only and not alpha.read_only
    assert threads.integer_range[0].to_value == 1024

"""Images and tasks in every form that they come in."""

from __future__ import annotations

import array
import time

import cv2
import numpy as np
import pytest
from bench import PIXELS, Camera, diagnosis, good_image, start
from diagnostic_msgs.msg import DiagnosticStatus
from encoded_images import encode
from fake_session import FakeSession
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from vltp_ros.imaging.images import ENCODINGS, to_rgb
from vltp_ros.msg import AffordanceMask, InferenceTiming, Task, TaskList
from vltp_ros.node.config import MAX_TASKS
from vltp_ros.node.node import VltpNode
from vltp_ros.node.qos import LATCHED, NEWEST


def compressed_image(second: int) -> CompressedImage:
    message = CompressedImage(header=good_image(second).header, format="png")
    message.data = array.array("B", cv2.imencode(".png", PIXELS[..., ::-1])[1].tobytes())
    return message


def test_compressed_images(bench, make_vltp):
    vltp = make_vltp(transport="compressed")
    start(vltp)
    camera = Camera(bench, "image/compressed", kind=CompressedImage, make=compressed_image)
    masks = bench.listen(Image, "vltp/mask")
    bench.wait(lambda: masks, meanwhile=camera)
    np.testing.assert_array_equal(to_rgb(masks[0], "mask"), 255 * (PIXELS[..., [0, 0, 0]] > 0))
    assert masks[0].header.frame_id == "eye"
    bad = CompressedImage(format="jpeg", data=array.array("B", b"nonsense"))
    status = diagnosis(
        bench, lambda status: "/image/compressed" in status.message, meanwhile=lambda: camera(bad)
    )
    assert status.level == DiagnosticStatus.WARN
    masks.clear()
    bench.wait(lambda: masks, meanwhile=camera)


@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
def test_every_encoding(bench, vltp, big_endian):
    """A red left half is masked, whatever it is sent as, and with padded rows."""
    start(vltp)
    picture = np.full((48, 64, 3), 20, np.uint8)
    picture[:, :32, 0] = 220
    red = [True] * 30 + [False] * 30  # without the columns where Bayer patterns blend
    masks = bench.listen(Image, "vltp/mask")
    publisher = bench.node.create_publisher(Image, "image", NEWEST)
    for encoding in ENCODINGS:
        sent = encode(picture, encoding, padding=6, big_endian=big_endian)
        sent.header.frame_id = encoding
        bench.wait(
            lambda encoding=encoding: masks and masks[-1].header.frame_id == encoding,
            meanwhile=lambda sent=sent: publisher.publish(sent),
        )
        mask = to_rgb(masks[-1], "mask")[..., 0] > 0
        np.testing.assert_array_equal(np.delete(mask, range(30, 34), 1), [red] * 48, encoding)


BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.mark.parametrize("quality", [NEWEST, BEST_EFFORT], ids=["reliable", "best effort"])
def test_any_publisher_is_heard(bench, vltp, quality):
    start(vltp)
    masks = bench.listen(Image, "vltp/mask")
    bench.wait(lambda: masks, meanwhile=Camera(bench, quality=quality))


def test_a_latched_image_is_heard(bench, make_vltp):
    camera = Camera(bench, quality=LATCHED)
    camera()
    vltp = make_vltp(image_reliability="reliable", image_durability="transient_local")
    masks = bench.listen(Image, "vltp/mask", QoSProfile(depth=1))
    start(vltp)
    bench.wait(lambda: masks)


def test_a_publisher_that_does_not_match_is_reported(bench, make_vltp):
    start(make_vltp(image_reliability="reliable"))
    bench.node.create_publisher(Image, "image", BEST_EFFORT)
    status = diagnosis(bench, lambda status: "quality of service" in status.message)
    assert "/image:" in status.message and "set image_reliability" in status.message


def test_names_are_remapped_once(bench):
    swapped = {"left/image": "/right/image", "right/image": "/left/image"}
    arguments = [part for old, new in swapped.items() for part in ("-r", f"{old}:={new}")]
    parameters = ["-p", "cameras:=[left, right]", "-p", "model:=/fake"]
    start(bench.add(VltpNode(FakeSession.load, cli_args=["--ros-args", *arguments, *parameters])))
    camera, masks = Camera(bench, "/right/image"), bench.listen(Image, "vltp/left/mask")
    bench.wait(lambda: masks, meanwhile=camera)
    assert diagnosis(bench, bool, "/left/image").message == "no image yet"


def test_cameras_share_the_model(bench, make_vltp):
    start(make_vltp(cameras=["front", "/arm/wrist"]))
    names = {"front/image": "vltp/front/mask", "/arm/wrist/image": "vltp/arm/wrist/mask"}
    cameras = {topic: Camera(bench, topic) for topic in names}
    masks = {topic: bench.listen(Image, mask) for topic, mask in names.items()}
    timings = bench.listen(InferenceTiming, "vltp/front/timing")

    def send():
        for camera in (*cameras.values(), cameras["front/image"], cameras["front/image"]):
            camera()  # three from the front for one from the wrist

    bench.wait(
        lambda: timings and all(len(messages) > 2 for messages in masks.values()), meanwhile=send
    )
    assert {mask.header.frame_id for messages in masks.values() for mask in messages} == {"eye"}
    assert timings[-1].received <= cameras["front/image"].sent
    for topic in ("/front/image", "/arm/wrist/image"):
        assert diagnosis(bench, bool, topic).message == "receiving"


def test_several_tasks_are_answered_at_once(bench, vltp, camera):
    start(vltp)
    tasks = bench.node.create_publisher(TaskList, "tasks", NEWEST)
    affordances = bench.listen(AffordanceMask, "vltp/affordance")
    timings = bench.listen(InferenceTiming, "vltp/timing")
    listed = [Task(id=70, text=" cut "), Task(id=7, text="pour")]

    def send():
        tasks.publish(TaskList(tasks=listed))
        camera()

    bench.wait(lambda: len({a.id for a in affordances} & {70, 7}) == 2, meanwhile=send)
    bench.wait(lambda: timings and len(timings[-1].tasks) == 2, meanwhile=camera)
    newest = [a for a in affordances if a.header == affordances[-1].header]
    assert {(a.id, a.task) for a in newest} == {(70, "cut"), (7, "pour")}
    active = bench.listen(TaskList, "vltp/active_tasks", LATCHED)
    bench.wait(lambda: active)
    assert [(task.id, task.text) for task in active[-1].tasks] == [(70, "cut"), (7, "pour")]


def test_a_task_that_the_model_refuses_costs_the_others_nothing(bench, vltp, camera):
    start(vltp)
    tasks = bench.node.create_publisher(TaskList, "tasks", NEWEST)
    affordances = bench.listen(AffordanceMask, "vltp/affordance")
    listed = [Task(id=1, text="cut"), Task(id=2, text="refuse me"), Task(id=3, text="pour")]

    def send():
        tasks.publish(TaskList(tasks=listed))
        camera()

    bench.wait(lambda: {1, 3} <= {a.id for a in affordances}, meanwhile=send)
    assert {a.id for a in affordances} == {1, 3}
    reason = "task 2: task is refused on request"
    diagnosis(bench, lambda status: status.message == reason, meanwhile=camera)


def test_refused_lists_of_tasks_change_nothing(bench, vltp):
    start(vltp)
    tasks = bench.node.create_publisher(TaskList, "tasks", NEWEST)
    too_many = [Task(text="cut")] * (MAX_TASKS + 1)
    for refused, words in ((too_many, "at most 16"), ([Task(text=" ")], "a sentence")):
        diagnosis(
            bench,
            lambda status, words=words: "/tasks: " in status.message and words in status.message,
            meanwhile=lambda refused=refused: tasks.publish(TaskList(tasks=refused)),
        )
    assert [task.text for task in vltp._tasks.current] == ["cut bread"]


def test_an_empty_list_of_tasks_rests_the_model(bench, vltp, camera):
    start(vltp)
    tasks = bench.node.create_publisher(TaskList, "tasks", NEWEST)
    status = diagnosis(
        bench,
        lambda status: "no task" in status.message,
        meanwhile=lambda: tasks.publish(TaskList()),
    )
    assert status.level == DiagnosticStatus.WARN
    masks = bench.listen(Image, "vltp/mask")
    sentence = bench.node.create_publisher(String, "task", NEWEST)
    diagnosis(bench, lambda status: status.message == "receiving", "/image", meanwhile=camera)
    assert not masks
    bench.wait(
        lambda: masks, meanwhile=lambda: (sentence.publish(String(data="cut bread")), camera())
    )


def test_a_planner_that_latches_nothing_is_warned_of_nothing(bench, vltp):
    start(vltp)
    warned = []
    events = PublisherEventCallbacks(incompatible_qos=warned.append)
    planner = bench.node.create_publisher(String, "task", NEWEST, event_callbacks=events)
    bench.wait(planner.get_subscription_count)
    time.sleep(1.5)  # longer than the node needs for a look
    assert not warned


def test_a_latched_task_is_heard_by_a_node_that_comes_later_until_another_comes(bench, vltp):
    latched = bench.node.create_publisher(String, "task", LATCHED)
    latched.publish(String(data="pour water"))
    other = bench.node.create_publisher(String, "task", NEWEST)

    def current() -> list[str]:
        return [task.text for task in vltp._tasks.current]

    start(vltp, task="cut bread")
    bench.wait(lambda: current() == ["pour water"])
    bench.wait(lambda: current() == ["stir"], meanwhile=lambda: other.publish(String(data="stir")))
    time.sleep(0.5)
    assert current() == ["stir"]
    vltp.trigger_deactivate()
    vltp.trigger_activate()  # as when the model is started again
    time.sleep(0.5)
    assert current() == ["stir"]
    vltp.trigger_deactivate()
    latched.publish(String(data="open a box"))
    vltp.trigger_activate()
    bench.wait(lambda: current() == ["open a box"])

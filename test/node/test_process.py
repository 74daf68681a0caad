"""The nodes as processes: they end when told to, and say what is wrong with a parameter."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
import rclpy
from ament_index_python.packages import get_package_prefix
from bench import Camera, diagnosis, values
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.parameter import Parameter
from rclpy.waitable import NumberOfEntities, Waitable
from sensor_msgs.msg import Image
from std_msgs.msg import String
from test_asking import Search

from vltp_ros.msg import Task, TaskList
from vltp_ros.node.process import MANY_FAILURES, spin, warn_of_little_shared_memory
from vltp_ros.node.qos import LATCHED

INSTALLED = Path(get_package_prefix("vltp_ros"), "lib", "vltp_ros")
COMMANDS = {
    "vltp": [sys.executable, str(Path(__file__).with_name("fake_session.py"))],
    "planner": [str(INSTALLED / "planner")],
    "sim_camera": [str(INSTALLED / "sim_camera")],
}
EVIDENCE = {
    "vltp": (DiagnosticArray, "/diagnostics"),
    "planner": (String, "task"),
    "sim_camera": (Image, "image"),
}


def start(name, *parameters):
    command = [*COMMANDS[name], "--ros-args"]
    if name == "vltp":
        command += ["-p", "model:=/fake"]
    for parameter in parameters:
        command += ["-p", parameter]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def ending_well(process, number, status=0):
    """After the block the process gets a signal, and must end with a status and in peace."""
    try:
        yield process
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == status, errors
    assert "Traceback" not in errors and "terminate called" not in errors


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_node_with_status_0(bench, name, number):
    with ending_well(start(name), number) as process:
        received = bench.listen(*EVIDENCE[name])
        bench.wait(lambda: received or process.poll() is not None, seconds=60)
        end = time.monotonic() + 15
        while process.poll() is None and time.monotonic() < end:
            process.send_signal(number)  # a terminal's and a launch file's come one by one
            time.sleep(0.01)


@pytest.mark.parametrize("delay", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_node_that_is_starting(number, delay):
    process = subprocess.Popen([INSTALLED / "vltp_node"], stderr=subprocess.PIPE, text=True)
    with ending_well(process, number):
        time.sleep(delay)  # somewhere in imports, set-up and loading


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("process", ["true", "false"], ids=["its own process", "a thread"])
def test_a_node_whose_model_is_stuck_ends_with_status_1(bench, camera, number, process):
    node = start("vltp", "task:=hang", f"model_process:={process}")
    with ending_well(node, number, status=1):
        arrays = bench.listen(DiagnosticArray, "/diagnostics")
        bench.wait(
            lambda: any(int(values(array.status[-1]).get("received", 0)) > 1 for array in arrays),
            seconds=60,
            meanwhile=camera,
        )


def test_a_node_that_gave_up_a_model_which_nothing_ends_ends_with_status_1(bench, camera):
    node = start("vltp", "task:=hang", "model_process:=false", "watchdog:=0.5")
    with ending_well(node, signal.SIGTERM, status=1):
        diagnosis(bench, lambda status: "was stuck" in status.message, meanwhile=camera)


def test_a_node_that_replaced_a_stuck_model_ends_with_status_0(bench, camera):
    with ending_well(start("vltp", "task:=hang", "watchdog:=0.5"), signal.SIGTERM):
        diagnosis(bench, lambda status: "was stuck" in status.message, meanwhile=camera)
        tasks = bench.node.create_publisher(String, "task", 1)
        masks = bench.listen(Image, "vltp/mask")
        bench.wait(
            lambda: masks,
            seconds=60,
            meanwhile=lambda: (tasks.publish(String(data="cut")), camera()),
        )


def test_a_signal_ends_a_node_that_is_searching(bench, camera):
    with ending_well(start("vltp", "task:=pour"), signal.SIGINT):
        masks = bench.listen(Image, "vltp/mask")
        bench.wait(lambda: masks, seconds=60, meanwhile=camera)
        search = Search(bench, min_score=0.9, timeout=60.0)
        bench.wait(lambda: search.feedback, meanwhile=camera)


@pytest.mark.parametrize(
    ("name", "parameter", "words"),
    [
        ("vltp", "threshold:=2.0", "threshold"),
        ("vltp", "rates:=[0.5, 1.0]", "NodeConfig.rates is 1.0; it must be at most 0.99"),
        ("vltp", "threads:=many", "threads"),
        ("vltp", "qos_overrides./diagnostics.publisher.depth:=0", "depth is 0"),
        ("planner", "period:=0.0", "period"),
        ("sim_camera", "split:=other", "CameraConfig.split is 'other'; allowed: train"),
        ("sim_camera", "width:=300", "300x480"),
    ],
)
def test_a_bad_parameter_ends_a_node_with_status_2(name, parameter, words):
    process = start(name, parameter)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert words in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--params-file", "/nowhere.yaml"], {}, "Couldn't parse params file"),
        (["--params-file", "BROKEN"], {}, "Couldn't parse params file"),
        (["-r", "=x"], {}, "Couldn't parse remap rule"),
        (
            [],
            {"ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_STRATEGY": "Enforce"},
            "ROS_SECURITY_KEYSTORE is None",
        ),
    ],
)
def test_what_keeps_ros_from_starting_is_said_in_a_line(tmp_path, arguments, environment, words):
    broken = tmp_path / "broken.yaml"
    broken.write_text("][")
    arguments = [str(broken) if one == "BROKEN" else one for one in arguments]
    process = subprocess.run(
        [*COMMANDS["vltp"], "--ros-args", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=60,
    )
    assert process.returncode == 2 and words in process.stderr.splitlines()[-1]
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        ("vltp_node", "max_image_age: "),
        ("sim_camera", "rate: 8.0"),
        ("planner", "period: 2.0"),
        ("live_view", 'address: "127.0.0.1:8765"'),
    ],
)
def test_every_executable_lists_its_parameters(name, parameter):
    command = [str(INSTALLED / name), "--help"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert printed.returncode == 0 and printed.stdout.startswith(f"usage: {name} ")
    assert f"\n  {parameter}" in printed.stdout


class Vanishing(Waitable):
    """Destroyed between an executor's look at it and its wait, as a subscription's events are."""

    times = 0

    def __enter__(self): ...

    def __exit__(self, *_): ...

    def get_num_entities(self):
        return NumberOfEntities()

    def add_to_wait_set(self, wait_set):
        self.times += 1
        if self.times == 1:
            raise InvalidHandle("destroyed by another thread")

    def is_ready(self, wait_set):
        return False


@pytest.mark.parametrize("threads", [1, 4])
def test_what_vanishes_does_not_end_the_executor(bench, threads):
    node = rclpy.create_node("changing", context=bench.context)
    vanishing = Vanishing(ReentrantCallbackGroup())
    node.add_waitable(vanishing)
    received = []
    node.create_subscription(Image, "image", received.append, 1)
    bench.add(node, threads)
    bench.wait(lambda: received, meanwhile=Camera(bench))
    assert vanishing.times > 1


def test_little_shared_memory_is_warned_of(tmp_path, monkeypatch, capfd):
    usage = namedtuple("usage", "total used free")
    for free, warned in ((60_000_000, False), (5_000_000, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(64_000_000, 0, free))
        warn_of_little_shared_memory(tmp_path)
        assert ("has 5 of 64 MB left" in capfd.readouterr().err) == warned
    warn_of_little_shared_memory(tmp_path / "nowhere")  # not on every system


@pytest.mark.parametrize("threads", [1, 4])
def test_a_callback_that_fails_does_not_end_the_executor(bench, threads):
    calls = []

    def fail():
        calls.append(1)
        raise RuntimeError("failed on purpose")

    node = rclpy.create_node("failing", context=bench.context)
    node.create_timer(0.05, fail)
    bench.add(node, threads)
    bench.wait(lambda: len(calls) > 3)


def test_what_fails_at_every_turn_is_raised():
    class Broken:
        context = rclpy.Context()
        turns = 0

        def spin(self):
            self.turns += 1
            raise RuntimeError("failed on purpose")

    broken = Broken()
    rclpy.init(context=broken.context)
    with pytest.raises(RuntimeError, match="failed on purpose"):
        spin(broken)
    assert broken.turns == MANY_FAILURES
    rclpy.try_shutdown(context=broken.context)


def test_a_parameter_of_no_known_type_does_not_end_the_node(bench, vltp, camera):
    vltp.autostart()
    impossible = ParameterMessage(name="task", value=ParameterValue(type=77))
    client = bench.node.create_client(SetParameters, "vltp/set_parameters")
    bench.wait(client.service_is_ready)
    client.call_async(SetParameters.Request(parameters=[impossible]))
    good = SetParameters.Request(parameters=[Parameter("task", value="cut").to_parameter_msg()])
    answer = bench.call(SetParameters, "vltp/set_parameters", good)
    assert answer.results[0].successful
    masks = bench.listen(Image, "vltp/mask")
    bench.wait(lambda: masks, meanwhile=camera)


def test_the_planner_takes_the_scene_s_tasks(bench):
    publisher = bench.node.create_publisher(TaskList, "scene_tasks", LATCHED)
    received = bench.listen(String, "task")
    process = start("planner", "tasks:=[a, b]", "period:=0.2")
    try:
        bench.wait(lambda: len(received) > 3, seconds=30)
        assert {message.data for message in received} == {"a", "b"}
        publisher.publish(TaskList(tasks=[Task(text="c"), Task(text="d")]))
        bench.wait(lambda: received[-1].data in ("c", "d"))
        received.clear()
        bench.wait(lambda: len(received) > 3)
        assert {message.data for message in received} == {"c", "d"}
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=15)
    assert process.returncode == 0, errors


def test_the_camera_s_frames_and_tasks(bench):
    images, tasks = bench.listen(Image, "image"), bench.listen(TaskList, "scene_tasks", LATCHED)
    process = start("sim_camera", "width:=160", "height:=120", "scene_seconds:=0.5")
    try:
        bench.wait(lambda: len(images) > 5 and len(tasks) > 1, seconds=60)
    finally:
        process.terminate()
        process.communicate(timeout=15)
    first, last = images[0], images[-1]
    assert (first.width, first.height, first.encoding) == (160, 120, "rgb8")
    assert first.header.frame_id == "camera_optical_frame"
    assert first.header.stamp.sec <= last.header.stamp.sec and first.header != last.header
    assert first.data != last.data
    assert all(message.tasks and all(t.text for t in message.tasks) for message in tasks)

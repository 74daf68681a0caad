"""`ros2 launch` of the demo: masks with the images' stamps, and a clean end."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import psutil
import pytest

from vltp_ros.rig.processes import free_domain

pytest.importorskip("launch_ros", reason="launch_ros is missing: source a ROS 2 distribution")
rclpy = pytest.importorskip("rclpy", reason="rclpy is missing: run `make test`")
messages = pytest.importorskip("vltp_ros.msg", reason="the messages are not built: `make test`")
pytestmark = [pytest.mark.requires_ros, pytest.mark.slow]


@pytest.fixture
def network(monkeypatch):
    """A ROS domain of the test's own."""
    with free_domain() as domain:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
        monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        yield


def launch(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        ["ros2", "launch", "vltp_ros", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("name", ["vltp.launch.py", "demo.launch.py"])
def test_arguments_are_described(network, name):
    output, _ = launch(name, "--show-args").communicate(timeout=60)
    names = (
        "params_file namespace model device use_rviz live_view image cameras depth respawn "
        "use_sim_time autostart log_level"
    )
    for argument in names.split():
        assert f"'{argument}'" in output


def test_a_bad_value_ends_the_launch_with_the_reason(network):
    process = launch("vltp.launch.py", "cameras:=front:/front/image_raw")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cameras is 'front:/front/image_raw'" in output and "NAME=TOPIC" in output


def test_cameras_have_topics_of_their_own_and_the_node_is_started_again(network):
    cameras = "cameras:=front=/front/color/image_raw,wrist"
    options = ("runner:=eager", "respawn:=true", "respawn_delay:=0.1")
    process = launch("vltp.launch.py", cameras, *options)
    rclpy.init()
    node = rclpy.create_node("listener")
    try:
        end = time.monotonic() + 240
        while not node.count_subscribers("/front/color/image_raw") and time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=0.5)
        assert node.count_subscribers("/front/color/image_raw")
        assert node.count_subscribers("/wrist/image")
        (child,) = psutil.Process(process.pid).children()
        child.kill()
        starts = 0
        for line in process.stdout:  # from the first start on
            starts += "process started with pid" in line
            if starts == 2 and "loading" in line:  # launch loses a signal while it starts again
                break
        assert starts == 2
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
    finally:
        process.kill()
        node.destroy_node()
        rclpy.try_shutdown()


def test_the_live_view_serves_where_it_is_told_to(network):
    pytest.importorskip("websockets", reason="websockets is missing: run `make test`")
    process = launch("vltp.launch.py", "live_view:=127.0.0.1:0", "autostart:=false")
    try:
        output = ""
        for line in process.stdout:
            output += line
            if "ws://127.0.0.1:" in line or "has died" in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        output += process.communicate(timeout=30)[0]
    finally:
        process.kill()
    assert "ws://127.0.0.1:" in output
    assert output.count("process has finished cleanly") == 2, output


def test_the_demo_makes_masks_and_ends(network):
    from sensor_msgs.msg import Image

    process = launch("demo.launch.py", "namespace:=lab", "runner:=eager")  # compiling takes long
    rclpy.init()
    node = rclpy.create_node("listener")
    images, masks = [], []
    node.create_subscription(Image, "/lab/image", images.append, 10)
    node.create_subscription(messages.AffordanceMask, "/lab/vltp/affordance", masks.append, 10)
    try:
        end = time.monotonic() + 240
        while len(masks) < 3 and time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=0.5)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        node.destroy_node()
        rclpy.try_shutdown()
    stamps = {(i.header.stamp.sec, i.header.stamp.nanosec, i.header.frame_id) for i in images}
    answered = {(m.header.stamp.sec, m.header.stamp.nanosec, m.header.frame_id) for m in masks}
    assert len(masks) >= 3, output
    assert answered & stamps
    assert "Traceback" not in output and "process has died" not in output

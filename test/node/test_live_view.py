"""The live view, by a WebSocket client as the Foxglove app is one."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from bench import PIXELS, Camera
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import deserialize_message
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from vltp_ros.msg import AffordanceMask, Task, TaskList
from vltp_ros.node.conversions import to_image
from vltp_ros.node.qos import LATCHED
from vltp_ros.rig.live_view import definition


class Viewer:
    """Speaks the protocol of the Foxglove app: docs.foxglove.dev/docs/sdk/websocket-server."""

    def __init__(self, socket: ClientConnection):
        self._socket = socket
        self.channels: dict[str, dict] = {}
        self.received: list[tuple[int, bytes]] = []

    def listen(self, seconds: float) -> None:
        """Take what comes meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                message = self._socket.recv(timeout=left)
            except TimeoutError:
                return
            if isinstance(message, str):
                self._told(json.loads(message))
            elif message[0] == 1:  # opcode, subscription, time, data
                self.received.append((struct.unpack_from("<I", message, 1)[0], message[13:]))

    def _told(self, message: dict) -> None:
        if message["op"] == "advertise":
            self.channels |= {channel["topic"]: channel for channel in message["channels"]}
        if message["op"] == "unadvertise":
            gone = set(message["channelIds"])
            self.channels = {t: c for t, c in self.channels.items() if c["id"] not in gone}

    def find(self, topic: str) -> dict:
        end = time.monotonic() + 20
        while topic not in self.channels and time.monotonic() < end:
            self.listen(0.2)
        return self.channels[topic]

    def subscribe(self, topic: str, number: int) -> None:
        request = {"id": number, "channelId": self.find(topic)["id"]}
        self._socket.send(json.dumps({"op": "subscribe", "subscriptions": [request]}))

    def unsubscribe(self, number: int) -> None:
        self._socket.send(json.dumps({"op": "unsubscribe", "subscriptionIds": [number]}))


def serve(*parameters: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "vltp_ros.rig.live_view", "--ros-args"]
    for parameter in parameters:
        command += ["-p", parameter]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def address_of(process: subprocess.Popen) -> str:
    """Where a server that has started says that it is."""
    for line in process.stderr:
        if "ws://" in line:
            return line[line.rindex("ws://") :].split()[0]
    raise AssertionError("it says no address")


@pytest.fixture
def view():
    """The address of a running server."""
    process = serve("address:=127.0.0.1:0")
    try:
        yield address_of(process)
        process.terminate()
        _, errors = process.communicate(timeout=15)
    finally:
        process.kill()
    assert process.returncode == 0, errors


@pytest.fixture
def viewer(view):
    with connect(view, subprotocols=["foxglove.sdk.v1"], max_size=None) as socket:
        yield Viewer(socket)


def watch(viewer, number, meanwhile, seconds=20.0) -> bytes:
    """The next message of a subscription."""
    viewer.received.clear()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        meanwhile()
        viewer.listen(0.2)
        for subscription, data in viewer.received:
            if subscription == number:
                return data
    raise AssertionError(f"no message within {seconds} s")


@pytest.mark.parametrize("quality", [10, qos_profile_sensor_data], ids=["reliable", "best effort"])
def test_an_image_arrives_as_it_was_sent(bench, viewer, quality):
    camera = Camera(bench, "cam/image", quality)
    viewer.subscribe("/cam/image", 7)
    image = deserialize_message(watch(viewer, 7, camera), Image)
    assert (image.width, image.height, image.encoding, image.header.frame_id) == (
        64, 48, "rgb8", "eye",
    )  # fmt: skip
    assert bytes(image.data) == PIXELS.tobytes()


def test_a_topic_is_subscribed_to_while_somebody_looks(bench, viewer):
    camera = Camera(bench)
    viewer.find("/image")
    assert bench.node.count_subscribers("image") == 0
    viewer.subscribe("/image", 1)
    watch(viewer, 1, camera)
    assert bench.node.count_subscribers("image") == 1
    viewer.unsubscribe(1)
    bench.wait(lambda: bench.node.count_subscribers("image") == 0)


def test_what_is_latched_comes_late(bench, viewer):
    publisher = bench.node.create_publisher(TaskList, "vltp/active_tasks", LATCHED)
    publisher.publish(TaskList(tasks=[Task(text="cut bread")]))
    viewer.subscribe("/vltp/active_tasks", 2)
    data = watch(viewer, 2, lambda: None)
    assert deserialize_message(data, TaskList).tasks[0].text == "cut bread"


def test_a_topic_comes_and_goes(bench, viewer):
    publisher = bench.node.create_publisher(Image, "passing", 10)
    viewer.find("/passing")
    bench.node.destroy_publisher(publisher)
    end = time.monotonic() + 20
    while "/passing" in viewer.channels and time.monotonic() < end:
        viewer.listen(0.2)
    assert "/passing" not in viewer.channels


def test_another_program_can_read_the_schemas(bench, viewer):
    bench.node.create_publisher(AffordanceMask, "vltp/affordance", 10)
    channel = viewer.find("/vltp/affordance")
    assert (channel["encoding"], channel["schemaEncoding"]) == ("cdr", "ros2msg")
    assert channel["schemaName"] == "vltp_ros/msg/AffordanceMask"
    types = get_types_from_msg(channel["schema"], "vltp_ros/msg/AffordanceMask")
    known = get_typestore(Stores.LATEST).fielddefs
    for kind in ("sensor_msgs/msg/Image", "builtin_interfaces/msg/Duration"):
        assert types[kind] == known[kind]
    assert [name for name, _ in types["vltp_ros/msg/AffordanceMask"][1]] == list(
        AffordanceMask.get_fields_and_field_types()
    )


def test_only_the_app_s_pages_may_connect(view):
    """Whatever page a browser on the robot shows can open a connection to its loopback."""
    for origin in (None, "https://app.foxglove.dev", "file://"):
        with connect(view, subprotocols=["foxglove.sdk.v1"], origin=origin) as connection:
            assert json.loads(connection.recv(timeout=5))["op"] == "serverInfo"
    for origin in ("https://example.org", "http://127.0.0.1:8000", "null"):
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(view, subprotocols=["foxglove.sdk.v1"], origin=origin),
        ):
            pass
        assert refused.value.response.status_code == 403


def test_idle_and_deaf_connections_do_not_keep_it_from_ending(bench):
    process = serve("address:=127.0.0.1:0")
    address = address_of(process)
    host, port = address.removeprefix("ws://").split(":")
    camera = Camera(bench, "cam/image", make=large_image)
    options = {"subprotocols": ["foxglove.sdk.v1"], "max_queue": 1, "close_timeout": 0.1}
    with socket.create_connection((host, int(port))), connect(address, **options) as deaf:
        Viewer(deaf).subscribe("/cam/image", 1)
        bench.wait(lambda: bench.node.count_subscribers("cam/image"))
        for _ in range(30):  # more than the buffers of its connection hold; it reads none of it
            camera()
            time.sleep(0.02)
        process.terminate()
        _, errors = process.communicate(timeout=15)
        assert process.returncode == 0, errors


def large_image(number: int) -> Image:
    return to_image(np.zeros((480, 640, 3), np.uint8), Header())


def test_what_is_not_understood_is_told(viewer):
    number = '{"op": "subscribe", "subscriptions": [{"id": "x", "channelId": 1}]}'
    nonsense = ["", "[]", '{"op": "fly"}', '{"op": "subscribe"}', b"\x01\x02", "[" * 9000, number]
    for message in nonsense:
        viewer._socket.send(message)
        while (told := json.loads(viewer._socket.recv(timeout=5)))["op"] != "status":
            pass
        assert "not understood" in told["message"] or "'fly' is not offered" in told["message"]


def test_a_type_without_a_file_has_no_definition():
    assert definition("nowhere_msgs/msg/Thing") == ""
    assert definition("std_msgs/msg/Thing") == ""


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("here", "LiveViewConfig.address is 'here'; it must be host:port"),
        ("127.0.0.1:70000", "LiveViewConfig.address is '127.0.0.1:70000'"),
        ("300.0.0.1:8765", "LiveViewConfig.address '300.0.0.1:8765': "),
    ],
)
def test_an_address_that_cannot_be_served_ends_it_with_status_2(address, words):
    process = serve(f"address:='{address}'")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert words in errors
    assert "Traceback" not in errors

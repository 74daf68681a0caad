"""Serves the topics of the ROS graph to the Foxglove app, for people without RViz."""

from __future__ import annotations

import functools
import re
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ament_index_python.packages import get_package_share_directory
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from vltp_ros.node.parameters import Parameters
from vltp_ros.node.process import run
from vltp_ros.paths import pip_command
from vltp_ros.rig.config import LiveViewConfig

if TYPE_CHECKING:
    from vltp_ros.rig.foxglove import Channel

FIELD = re.compile(r"^\s*(?:(\w+)/)?(\w+)(?:<=\d+)?(?:\[[^\]]*\])?\s+\w+", re.MULTILINE)
UPDATE_SECONDS = 0.5  # how soon a new topic, or a new viewer of one, is noticed
DEPTH = 16  # messages that wait for a topic; the oldest is dropped


@dataclass
class Topic:
    """A topic that the server offers; subscribed to only while an app shows it."""

    kind: str
    channel: Channel
    subscription: Subscription | None = None


class LiveView(Node):
    """Offers every topic whose message definition is installed, as it is, not re-encoded."""

    def __init__(self) -> None:
        """Start the server.

        Raises:
            ValueError: for an address that cannot be served at.
            ModuleNotFoundError: without websockets.
        """
        super().__init__("live_view")
        config = Parameters(self, LiveViewConfig).config
        try:
            from vltp_ros.rig.foxglove import FoxgloveServer
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"the live view needs websockets: {pip_command('live')}"
            ) from error
        host, port = config.address.rsplit(":", 1)
        try:
            self._server = FoxgloveServer(host, int(port), config.origins)
        except OSError as error:
            raise ValueError(f"LiveViewConfig.address {config.address!r}: {error}") from error
        self._topics: dict[str, Topic] = {}
        self.create_timer(UPDATE_SECONDS, self._update)
        self.get_logger().info(
            f"open {self._server.app_url}, or {self._server.url} in the Foxglove app"
        )

    def destroy_node(self) -> None:
        """End the server too."""
        if hasattr(self, "_server"):
            self._server.stop()
        super().destroy_node()

    def _update(self) -> None:
        """Follow the graph and the viewers."""
        kinds = {
            name: types[0]
            for name, types in self.get_topic_names_and_types()
            if len(types) == 1 and definition(types[0]) and self.count_publishers(name)
        }
        for name, topic in list(self._topics.items()):
            if kinds.get(name) != topic.kind:
                self._close(name)
        for name, kind in kinds.items():
            if name not in self._topics:
                self._topics[name] = Topic(kind, self._server.open(name, kind, definition(kind)))
        for name, topic in self._topics.items():
            if not self._server.is_shown(topic.channel):
                self._unsubscribe(topic)
            elif topic.subscription is None:
                self._subscribe(name, topic)

    def _close(self, name: str) -> None:
        topic = self._topics.pop(name)
        self._unsubscribe(topic)
        self._server.close(topic.channel)

    def _subscribe(self, name: str, topic: Topic) -> None:
        package, _, message = topic.kind.split("/")
        topic.subscription = self.create_subscription(
            getattr(import_module(f"{package}.msg"), message),
            name,
            functools.partial(self._server.show, topic.channel),
            self._quality(name),
            raw=True,
        )

    def _unsubscribe(self, topic: Topic) -> None:
        if topic.subscription is not None:
            self.destroy_subscription(topic.subscription)
        topic.subscription = None

    def _quality(self, name: str) -> QoSProfile:
        """Return the quality of service that all publishers of a topic offer."""
        offered = [info.qos_profile for info in self.get_publishers_info_by_topic(name)]
        reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offered)
        latched = all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered)
        return QoSProfile(
            depth=DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )


@functools.cache
def definition(kind: str) -> str:
    """Return the definitions of a message type and of all types in it; "" if one is missing.

    The form is that of "ros2msg" schemas (https://mcap.dev/spec/registry#ros2msg).

    Args:
        kind: such as ``sensor_msgs/msg/Image``.
    """
    package, _, message = kind.split("/")
    texts: dict[str, str] = {}
    try:
        _collect(package, message, texts)
    except LookupError:
        return ""
    first, *others = texts.values()
    names = list(texts)[1:]
    return first + "".join(
        f"\n{'=' * 80}\nMSG: {name}\n{text}" for name, text in zip(names, others, strict=True)
    )


def _collect(package: str, message: str, texts: dict[str, str]) -> None:
    """Add a type and those in it to ``texts``; LookupError if the file of one is missing."""
    name = f"{package}/{message}"
    if name in texts:
        return
    path = Path(get_package_share_directory(package), "msg", f"{message}.msg")
    if not path.exists():
        raise LookupError(path)
    texts[name] = path.read_text()
    for other, kind in FIELD.findall(re.sub("#.*", "", texts[name])):
        if kind[0].isupper():  # the names of primitive types are in lower case
            _collect(other or package, kind, texts)


def main() -> int:
    """Run the server until SIGINT or SIGTERM; return the exit status."""
    return run(LiveView, LiveViewConfig)


if __name__ == "__main__":
    sys.exit(main())

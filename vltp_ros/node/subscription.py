"""Subscriptions to sensors: as reliable as the publishers, and able to say why nothing arrives."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from rclpy import get_rmw_implementation_identifier
from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import (
    QoSMessageLostInfo,
    QoSRequestedIncompatibleQoSInfo,
    SubscriptionEventCallbacks,
)
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from vltp_ros.node.config import NodeConfig
from vltp_ros.node.diagnostics import Health
from vltp_ros.node.qos import SENSOR_OVERRIDES, sensor_reliability
from vltp_ros.paths import shipped

PERIOD = 0.1  # seconds between looks at the publishers
SILENCE_SECONDS = 5.0  # without any message, of a topic that has publishers
MANY_LOST = 5  # messages; fewer say nothing
LOSSY = 0.25  # share of a publisher's messages
RECENT_SECONDS = 10.0  # in which messages are counted

Cause = Literal["type", "best effort", "unknown"]

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT


class Tally:
    """What came of late, and what did not, while a publisher was there."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._ever = False  # a message has come
        self._events: deque[tuple[float, int, int]] = deque()  # seconds, received, lost

    def add(self, received: int, lost: int) -> None:
        """Count messages."""
        self._ever = self._ever or received > 0
        self._events.append((time.monotonic(), received, lost))

    @property
    def counts(self) -> tuple[int, int]:
        """Messages received and lost in the last RECENT_SECONDS."""
        while self._events and time.monotonic() - self._events[0][0] > RECENT_SECONDS:
            self._events.popleft()
        return sum(event[1] for event in self._events), sum(event[2] for event in self._events)

    @property
    def is_silent(self) -> bool:
        """Whether nothing has come since the publisher did, some time ago."""
        return not self._ever and time.monotonic() - self._began > SILENCE_SECONDS

    @property
    def is_lossy(self) -> bool:
        """Whether many messages were lost of late."""
        received, lost = self.counts
        return lost >= max(MANY_LOST, LOSSY * (received + lost))


class SensorSubscription:
    """Subscribes to a topic as reliably as all of its publishers offer, and follows them.

    A best-effort subscription receives from every publisher, but what is lost on the way stays
    lost: of images that are larger than the publisher's shared memory, nearly all. A reliable one
    hears nothing of a best-effort publisher.

    Args:
        node: that subscribes.
        kind: class of the messages.
        topic: name, remapped as usual.
        receive: is called with each message.
        config: depth and reliability, or that the publishers' is followed.
        durability: of the messages.
        health: is told of publishers that do not match.
        group: of the callbacks, one at a time.
    """

    def __init__(
        self,
        node: Node,
        kind: type,
        topic: str,
        receive: Callable[[Any], None],
        config: NodeConfig,
        durability: DurabilityPolicy,
        health: Health,
        group: CallbackGroup,
    ) -> None:
        self._node = node
        self._kind = kind
        self._receive = receive
        reliability = sensor_reliability(
            node, node.resolve_topic_name(topic), config.image_reliability
        )
        self._follow = reliability == "auto"
        self._quality = QoSProfile(depth=config.image_depth, durability=durability)
        if not self._follow:
            self._quality.reliability = ReliabilityPolicy[reliability.upper()]
        self._health = health
        self._group = group
        self._lock = threading.Lock()  # between the timer and whoever destroys
        # By publisher: one that has crashed stays in the graph for a while beside the next.
        self._tallies: dict[bytes, Tally] = {}
        self._told: set[Cause] = set()  # what the log has
        self.lost = 0  # messages that the middleware could not deliver, of all publishers so far
        self.trouble = ""  # why messages do not arrive; empty while they do
        self._name = topic  # rclpy remaps it wherever it is given, so never what it becomes
        self._subscription = self._subscribe(node.get_publishers_info_by_topic(topic))
        self.topic: str = self._subscription.topic_name
        # Not the node's clock: simulated time may stand still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(PERIOD, self._look, group, clock=steady)

    def destroy(self) -> None:
        """Unsubscribe."""
        with self._lock:
            self._node.destroy_timer(self._timer)
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _subscribe(self, publishers: list[TopicEndpointInfo]) -> Any:
        if self._follow:
            self._quality.reliability = common_reliability(publishers)
        return self._node.create_subscription(
            self._kind,
            self._name,
            self._on_message,
            self._quality,
            callback_group=self._group,
            qos_overriding_options=SENSOR_OVERRIDES,
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=self._on_incompatible, message_lost=self._on_lost
            ),
        )

    def _on_message(self, message: Any) -> None:
        for tally in self._tallies.values():
            tally.add(received=1, lost=0)
        self._receive(message)

    def _on_lost(self, event: QoSMessageLostInfo) -> None:
        for tally in self._tallies.values():
            tally.add(received=0, lost=event.total_count_change)
        self.lost += event.total_count_change

    def _on_incompatible(self, event: QoSRequestedIncompatibleQoSInfo) -> None:
        policy = event.last_policy_kind.name.lower().removeprefix("rmw_qos_policy_")
        if self._follow and policy == "reliability":
            return  # the next look follows
        self._health.warn(
            f"{self.topic}: a publisher's quality of service does not match ({policy}); "
            f"set image_{policy}, or what overrides it, to what it offers"
        )

    def _look(self) -> None:
        with self._lock:
            if self._subscription is None:
                return
            publishers = self._node.get_publishers_info_by_topic(self._name)
            if self._follow and common_reliability(publishers) != self._quality.reliability:
                old = self._subscription
                self._subscription = self._subscribe(publishers)
                self._node.destroy_subscription(old)
            self._judge(publishers)

    def _judge(self, publishers: list[TopicEndpointInfo]) -> None:
        """Find out whether what is published arrives."""
        ids = {bytes(publisher.endpoint_gid): publisher for publisher in publishers}
        self._tallies = {number: self._tallies.get(number) or Tally() for number in ids}
        bad = {number: t for number, t in self._tallies.items() if t.is_silent or t.is_lossy}
        self.trouble = ""
        if bad:
            tally = next(iter(bad.values()))
            received, lost = tally.counts
            counts = f"{received} of {received + lost} messages arrive"
            what = "is published, but nothing arrives" if tally.is_silent else counts
            cause, words = self._cause([ids[number] for number in bad])
            self.trouble = f"{self.topic} {what}: {words}"
            if cause not in self._told:  # straight to the log: a limit could swallow it
                self._told.add(cause)
                self._node.get_logger().warning(self.trouble)

    def _cause(self, publishers: list[TopicEndpointInfo]) -> tuple[Cause, str]:
        """Return the likeliest cause, and in words what mends it."""
        kind = f"{self._kind.__module__.partition('.')[0]}/msg/{self._kind.__name__}"
        for publisher in publishers:
            if publisher.topic_type != kind:
                words = f"{_full_name(publisher)} sends {publisher.topic_type}, not {kind}"
                return "type", words
        lossy = [p for p in publishers if p.qos_profile.reliability == BEST_EFFORT]
        if lossy and "fastrtps" in get_rmw_implementation_identifier():
            return "best effort", (
                f"{_full_name(lossy[0])} sends best effort, and its Fast DDS has less shared "
                "memory than an image takes; set FASTDDS_DEFAULT_PROFILES_FILE="
                f"{shipped('config/fastdds.xml')} for it, or have it send reliably"
            )
        if lossy:
            return "best effort", f"{_full_name(lossy[0])} sends best effort; have it send reliably"
        return "unknown", (
            f"{_full_name(publishers[0])} may be idle, or a firewall in the way; "
            f"ros2 topic hz {self.topic} tells whether others receive it"
        )


def common_reliability(publishers: list[TopicEndpointInfo]) -> ReliabilityPolicy:
    """Return what all publishers offer: reliable unless one is best effort.

    Also where there is none yet, as most camera drivers are reliable.
    """
    offered = {publisher.qos_profile.reliability for publisher in publishers}
    return BEST_EFFORT if BEST_EFFORT in offered else RELIABLE


def _full_name(publisher: TopicEndpointInfo) -> str:
    return f"{publisher.node_namespace.rstrip('/')}/{publisher.node_name}"

"""What the node listens to for one camera: its images."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from vltp_ros.node.config import NodeConfig
from vltp_ros.node.diagnostics import Health
from vltp_ros.node.inference import Frame
from vltp_ros.node.subscription import SensorSubscription

TRANSPORTS = {  # the parameter -> message, what the topic's name ends with
    "raw": (Image, ""),
    "compressed": (CompressedImage, "/compressed"),
}


class ImageInput:
    """Listens to ``PREFIXimage`` or ``PREFIXimage/compressed``.

    Args:
        node: that listens.
        prefix: what the topic's name begins with, ``""`` or ``"front/"``.
        health: is told of publishers that do not match.
        receive: is called with each image.
    """

    def __init__(
        self, node: Node, prefix: str, health: Health, receive: Callable[[Frame], None]
    ) -> None:
        self._node = node
        self._prefix = prefix
        self._health = health
        self._receive = receive
        self._subscription: SensorSubscription | None = None
        self.topic = ""
        """The images' topic, remapped; empty while nobody listens."""

    def subscribe(self, config: NodeConfig, group: CallbackGroup) -> None:
        """Listen, by the transport and quality of service of the parameters."""
        kind, suffix = TRANSPORTS[config.transport]
        name = f"{self._prefix}image{suffix}"
        # Before the first image, which may come while the subscription is made.
        self.topic = self._node.resolve_topic_name(name)
        self._subscription = SensorSubscription(
            self._node,
            kind,
            name,
            self._take,
            config,
            DurabilityPolicy[config.image_durability.upper()],
            self._health,
            group,
        )

    def unsubscribe(self) -> None:
        """Stop listening."""
        self.topic = ""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.destroy()

    @property
    def lost(self) -> int:
        """Images that the middleware could not deliver since the subscription."""
        subscription = self._subscription
        return 0 if subscription is None else subscription.lost

    @property
    def trouble(self) -> str:
        """Why images do not arrive; empty while they do, or nobody listens."""
        subscription = self._subscription
        return "" if subscription is None else subscription.trouble

    def _take(self, message: Image | CompressedImage) -> None:
        if topic := self.topic:  # one may still come while the node is deactivated
            self._receive(Frame(message, topic))

"""What the node listens to for one camera."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from vltp_ros.config import NodeConfig
from vltp_ros.node.qos import of_images
from vltp_ros.runtime.images import decompress, to_rgb

TRANSPORTS = {  # the parameter -> message, what the topic's name ends with, conversion
    "raw": (Image, "", to_rgb),
    "compressed": (CompressedImage, "/compressed", decompress),
}


class CameraInput:
    """A subscription to one camera's images.

    Args:
        node: that listens.
        prefix: what the topic's name begins with, ``""`` or ``"front/"``.
        config: transport and quality of service.
        receive: is called with each message.
        complain: is told of publishers that do not match.
        group: of the callbacks.
    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        config: NodeConfig,
        receive: Callable[[Image | CompressedImage], None],
        complain: Callable[[str], None],
        group: CallbackGroup,
    ) -> None:
        kind, suffix, self._convert = TRANSPORTS[config.transport]
        self._node = node
        self._complain = complain
        self._subscription = node.create_subscription(
            kind,
            f"{prefix}image{suffix}",
            receive,
            of_images(config),
            callback_group=group,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible),
        )
        self.topic = self._subscription.topic_name

    def destroy(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)

    def pixels(self, message: Image | CompressedImage) -> np.ndarray:
        """uint8 [H, W, 3] RGB of one of the messages. Raises ConversionError."""
        return self._convert(message, self.topic)

    def _on_incompatible(self, event: QoSRequestedIncompatibleQoSInfo) -> None:
        policy = event.last_policy_kind.name.lower().removeprefix("rmw_qos_policy_")
        self._complain(
            f"{self.topic}: a publisher's quality of service does not match ({policy}); "
            f"set image_{policy} to what it offers"
        )

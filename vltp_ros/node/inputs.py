"""What the node listens to for one camera."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from vltp_ros.imaging.images import decompress, to_rgb
from vltp_ros.node.config import NodeConfig
from vltp_ros.node.subscription import SensorSubscription

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
        warn: is told of publishers that do not match.
        group: of the callbacks.
    """

    def __init__(
        self,
        node: Node,
        prefix: str,
        config: NodeConfig,
        receive: Callable[[Image | CompressedImage], None],
        warn: Callable[[str], None],
        group: CallbackGroup,
    ) -> None:
        kind, suffix, self._convert = TRANSPORTS[config.transport]
        topic = f"{prefix}image{suffix}"
        durability = DurabilityPolicy[config.image_durability.upper()]
        self.subscription = SensorSubscription(
            node, kind, topic, receive, config, durability, warn, group
        )
        self.topic = self.subscription.topic

    def destroy(self) -> None:
        """Stop listening."""
        self.subscription.destroy()

    def pixels(self, message: Image | CompressedImage) -> np.ndarray:
        """uint8 [H, W, 3] RGB of one of the messages. Raises ConversionError."""
        return self._convert(message, self.topic)

"""A camera that sees one picture at a fixed rate, and costs next to nothing: for measuring."""

from __future__ import annotations

import sys

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from vltp_ros.node.conversions import to_image
from vltp_ros.node.parameters import Parameters
from vltp_ros.node.process import run
from vltp_ros.node.qos import NEWEST
from vltp_ros.rig.config import StillCameraConfig


class StillCamera(Node):
    """Publishes ``image`` (rgb8); frame_id is the number of the image, counted from 0."""

    def __init__(self) -> None:
        super().__init__("still_camera")
        config = Parameters(self, StillCameraConfig).config
        noise = np.random.default_rng(0).integers(0, 256, (config.height, config.width, 3))
        self._image = to_image(noise.astype(np.uint8), Header())
        self._count = 0
        self._publisher = self.create_publisher(Image, "image", NEWEST)
        self.create_timer(1 / config.rate, self._publish)

    def _publish(self) -> None:
        self._image.header.stamp = self.get_clock().now().to_msg()
        self._image.header.frame_id = str(self._count)
        self._publisher.publish(self._image)
        self._count += 1


def main() -> int:
    """Run the camera until SIGINT or SIGTERM; return the exit status."""
    return run(StillCamera)


if __name__ == "__main__":
    sys.exit(main())

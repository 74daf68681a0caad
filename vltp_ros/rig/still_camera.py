"""A camera that sees one picture at a fixed rate, and costs next to nothing: for measuring."""

from __future__ import annotations

import sys

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from vltp_ros.node.conversions import to_image
from vltp_ros.node.parameters import Parameters
from vltp_ros.node.process import run
from vltp_ros.node.qos import NEWEST
from vltp_ros.rig.config import StillCameraConfig

DEPTH_MM = 1000  # millimetres, everywhere


class StillCamera(Node):
    """Publishes ``image`` (rgb8), and ``depth`` (16UC1) and ``camera_info`` where it is to.

    frame_id is the number of the image, counted from 0.
    """

    def __init__(self) -> None:
        super().__init__("still_camera")
        config = Parameters(self, StillCameraConfig).config
        noise = np.random.default_rng(0).integers(0, 256, (config.height, config.width, 3))
        self._header = Header()
        self._count = 0
        image = to_image(noise.astype(np.uint8), self._header)
        self._outputs = [(self.create_publisher(Image, "image", NEWEST), image)]
        if config.depth:  # before the image, which waits for nothing
            depth = np.full((config.height, config.width), DEPTH_MM, np.uint16)
            self._outputs[:0] = [
                (self.create_publisher(Image, "depth", NEWEST), to_image(depth, self._header)),
                (self.create_publisher(CameraInfo, "camera_info", NEWEST), self._info(config)),
            ]
        self.create_timer(1 / config.rate, self._publish)

    def _info(self, config: StillCameraConfig) -> CameraInfo:
        focal = float(config.width)
        info = CameraInfo(header=self._header, width=config.width, height=config.height)
        info.k = [focal, 0.0, config.width / 2, 0.0, focal, config.height / 2, 0.0, 0.0, 1.0]
        return info

    def _publish(self) -> None:
        self._header.stamp = self.get_clock().now().to_msg()
        self._header.frame_id = str(self._count)
        for publisher, message in self._outputs:
            publisher.publish(message)
        self._count += 1


def main() -> int:
    """Run the camera until SIGINT or SIGTERM; return the exit status."""
    return run(StillCamera, StillCameraConfig)


if __name__ == "__main__":
    sys.exit(main())

"""The depth of one camera's images."""

from __future__ import annotations

import math
from collections import deque

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from vltp_ros.imaging.images import ConversionError
from vltp_ros.imaging.instances import DepthView
from vltp_ros.node.config import NodeConfig
from vltp_ros.node.conversions_3d import to_depth, to_pinhole
from vltp_ros.node.diagnostics import Health
from vltp_ros.node.subscription import SensorSubscription

KEPT_IMAGES = 30  # depth images, among which the one that fits an image is looked for
RUN_SECONDS = 1.0  # that stamps may go back; by more, another run of a bag or simulation begins
MAX_STRETCH = 0.02  # of depth images, against the image; sizes are rounded


class DepthInput:
    """Listens to ``PREFIXdepth`` and ``PREFIXcamera_info``.

    Args:
        node: that listens.
        prefix: what the topics' names begin with, ``""`` or ``"front/"``.
        health: is told of publishers that do not match.
    """

    def __init__(self, node: Node, prefix: str, health: Health) -> None:
        self._node = node
        self._prefix = prefix
        self._health = health
        self.topics: tuple[str, ...] = ()
        """Topics of depth and calibration, remapped; empty while nobody listens."""
        self._subscriptions: tuple[SensorSubscription, ...] = ()
        self._images: deque[Image] = deque(maxlen=KEPT_IMAGES)
        self._info: CameraInfo | None = None
        self._rectified = True

    def subscribe(self, config: NodeConfig, group: CallbackGroup) -> None:
        """Listen, by the quality of service of the parameters."""
        node, volatile, health = self._node, DurabilityPolicy.VOLATILE, self._health
        names = (f"{self._prefix}depth", f"{self._prefix}camera_info")
        self.topics = tuple(map(node.resolve_topic_name, names))
        self._images.clear()  # one may have come while the last subscription was destroyed
        self._info = None
        self._rectified = config.rectified
        self._subscriptions = tuple(
            SensorSubscription(node, kind, name, take, config, volatile, health, group)
            for kind, name, take in zip(
                (Image, CameraInfo), names, (self._take_image, self._take_info), strict=True
            )
        )

    def unsubscribe(self) -> None:
        """Stop listening, and forget what came."""
        self.topics = ()
        subscriptions, self._subscriptions = self._subscriptions, ()
        for subscription in subscriptions:
            subscription.destroy()
        self._images.clear()
        self._info = None

    @property
    def trouble(self) -> str:
        """Why depth images or calibrations do not arrive; empty while they do."""
        return next((s.trouble for s in self._subscriptions if s.trouble), "")

    def _take_image(self, message: Image) -> None:
        if message.header.stamp.sec < 0:
            self._health.warn(f"{self._prefix}depth: its stamp is before all time")
            return
        stamps = [Time.from_msg(image.header.stamp) for image in (message, *self._images)]
        if (stamps[-1] - stamps[0]).nanoseconds > RUN_SECONDS * 1e9:
            self._images.clear()
        self._images.append(message)

    def _take_info(self, message: CameraInfo) -> None:
        if self._info is None and self._rectified and any(message.d):
            image = self._node.resolve_topic_name(f"{self._prefix}image")
            if "raw" in image.rpartition("/")[2]:  # as drivers and image_proc name them
                self._health.warn(
                    f"{image} is taken to be rectified, and the lens of {self._prefix}camera_info "
                    "has distortion; set rectified to false if the images show it"
                )
        self._info = message

    def of(self, topics: tuple[str, ...], header: Header, tolerance: float) -> DepthView:
        """Return the depth of an image.

        Args:
            topics: of depth and calibration, for errors.
            header: of the image.
            tolerance: seconds by which the stamps of image and depth may differ.

        Raises ConversionError when there is no depth within ``tolerance`` seconds of the image, or
        it is not in the image's frame, or the camera is unknown.
        """
        depth_topic, info_topic = topics
        info = self._info
        if info is None:
            raise ConversionError(f"{info_topic}: no message yet")
        stamp = Time.from_msg(header.stamp).nanoseconds
        images = tuple(reversed(self._images))  # of equal stamps the newest one counts
        ages = [abs(Time.from_msg(i.header.stamp).nanoseconds - stamp) * 1e-9 for i in images]
        seconds = min(ages, default=math.inf)
        if seconds > tolerance:
            raise ConversionError(
                f"{depth_topic}: no depth within {tolerance:g} s of the image (depth_tolerance); "
                f"the nearest differs by {seconds:.3g} s"
            )
        nearest = images[ages.index(seconds)]
        if nearest.header.frame_id != header.frame_id:
            raise ConversionError(
                f"{depth_topic}: its frame is {nearest.header.frame_id!r}, the image's "
                f"{header.frame_id!r}; the depth has to be registered to the image"
            )
        depth = to_depth(nearest, depth_topic)
        camera = to_pinhole(info, info_topic, self._rectified)
        height, width = depth.shape
        if abs(width * camera.height / (height * camera.width) - 1) > MAX_STRETCH:
            raise ConversionError(
                f"{depth_topic}: it is {width}x{height}, {info_topic} says {camera.width}x"
                f"{camera.height}: they do not show the same, or roi and binning are wrong"
            )
        return DepthView(depth, camera)

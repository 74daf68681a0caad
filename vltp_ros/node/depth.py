"""Where in space one camera's results are, by its depth images."""

from __future__ import annotations

import math
from collections import deque

import cv2
import numpy as np
from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from vltp_ros.imaging.geometry import Pinhole, back_project, place
from vltp_ros.imaging.images import ConversionError
from vltp_ros.msg import Affordance3D
from vltp_ros.node.config import NodeConfig
from vltp_ros.node.conversions_3d import to_affordance_3d, to_cloud, to_depth, to_pinhole
from vltp_ros.node.diagnostics import Health
from vltp_ros.node.inference import Inference
from vltp_ros.node.markers import to_markers
from vltp_ros.node.qos import of_answers, of_each_task
from vltp_ros.node.subscription import SensorSubscription

KEPT_IMAGES = 30  # depth images, among which the one that fits an image is looked for


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

    def subscribe(self, config: NodeConfig, group: CallbackGroup) -> None:
        """Listen, by the quality of service of the parameters."""
        node, volatile, health = self._node, DurabilityPolicy.VOLATILE, self._health
        names = (f"{self._prefix}depth", f"{self._prefix}camera_info")
        self.topics = tuple(map(node.resolve_topic_name, names))
        self._images.clear()  # one may have come while the last subscription was destroyed
        self._info = None
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
        else:
            self._images.append(message)

    def _take_info(self, message: CameraInfo) -> None:
        self._info = message

    def of(
        self, topics: tuple[str, ...], header: Header, tolerance: float
    ) -> tuple[np.ndarray, Pinhole]:
        """Return depth (float32 [h, w], metres or NaN) and camera of an image.

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
        return to_depth(nearest, depth_topic), to_pinhole(info, info_topic)


class DepthOutputs:
    """Publishes poses, points and markers, each only while somebody listens.

    Args:
        node: that publishes.
        prefix: what the topics' names begin with, ``"~/"`` or ``"~/front/"``.
        depth: of the same camera.
        health: is told why there is no pose for an image.
        config: says what the topics promise.
    """

    def __init__(
        self,
        node: LifecycleNode,
        prefix: str,
        depth: DepthInput,
        health: Health,
        config: NodeConfig,
    ) -> None:
        self._node = node
        self._depth = depth
        self._health = health
        create = node.create_lifecycle_publisher
        self._poses = create(Affordance3D, f"{prefix}affordance_3d", of_each_task(config))
        self._points = create(PointCloud2, f"{prefix}points", of_answers(config))
        self._markers = create(MarkerArray, f"{prefix}markers", of_answers(config))
        self._publishers = (self._poses, self._points, self._markers)

    def destroy(self) -> None:
        """Take the topics down."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)

    def publish(self, inference: Inference, config: NodeConfig) -> None:
        """Publish where the answers are, in the frame of their image."""
        topics = self._depth.topics  # another thread may deactivate the node at any moment
        wanted = any(publisher.get_subscription_count() for publisher in self._publishers)
        if not (topics and wanted):
            return
        header = inference.frame.message.header
        try:
            depth, camera = self._depth.of(topics, header, config.depth_tolerance)
        except ConversionError as error:
            self._health.warn(str(error))
            return
        pixels = cv2.resize(inference.image, depth.shape[::-1])
        poses, clouds, colours = [], [], []
        for task, result in zip(inference.tasks, inference.results, strict=True):
            points, rows, columns = back_project(depth, result.mask, camera)
            clouds.append(points)
            colours.append(pixels[rows, columns])
            placement = place(points)
            if placement is not None:
                poses.append(to_affordance_3d(placement, result, header, task))
        for message in poses:
            self._poses.publish(message)
        if self._points.get_subscription_count():
            cloud = to_cloud(np.concatenate(clouds), np.concatenate(colours), header)
            self._points.publish(cloud)
        if self._markers.get_subscription_count():
            self._markers.publish(to_markers(poses, header))

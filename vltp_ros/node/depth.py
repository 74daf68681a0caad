"""Where in space one camera's results are, by its depth images."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import cv2
import numpy as np
from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin
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
from vltp_ros.node.inference import Inference
from vltp_ros.node.markers import to_markers
from vltp_ros.node.qos import NEWEST, NEWEST_OF_EACH_TASK
from vltp_ros.node.subscription import SensorSubscription

KEPT_IMAGES = 30  # depth images, among which the one that fits an image is looked for


class DepthInput:
    """Listens to ``PREFIXdepth`` and ``PREFIXcamera_info``."""

    def __init__(
        self,
        node: LifecycleNodeMixin,
        prefix: str,
        config: NodeConfig,
        warn: Callable[[str], None],
        group: CallbackGroup,
    ) -> None:
        self._images: deque[Image] = deque(maxlen=KEPT_IMAGES)
        self._info: CameraInfo | None = None
        volatile = DurabilityPolicy.VOLATILE
        self._subscriptions = [
            SensorSubscription(node, kind, f"{prefix}{name}", take, config, volatile, warn, group)
            for kind, name, take in (
                (Image, "depth", self._take_image),
                (CameraInfo, "camera_info", self._take_info),
            )
        ]
        self.topics = tuple(each.topic for each in self._subscriptions)

    def destroy(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            subscription.destroy()

    @property
    def trouble(self) -> str:
        """Why depth images or calibrations do not arrive; empty while they do."""
        return next((each.trouble for each in self._subscriptions if each.trouble), "")

    def _take_image(self, message: Image) -> None:
        self._images.append(message)

    def _take_info(self, message: CameraInfo) -> None:
        self._info = message

    def of(self, header: Header, tolerance: float) -> tuple[np.ndarray, Pinhole]:
        """Depth (float32 [h, w], metres or NaN) and camera of an image.

        Raises ConversionError when there is no depth within ``tolerance`` seconds of the image, or
        it is not in the image's frame, or the camera is unknown.
        """
        depth_topic, info_topic = self.topics
        if self._info is None:
            raise ConversionError(f"{info_topic}: no message yet")
        stamp = Time.from_msg(header.stamp).nanoseconds
        images = tuple(self._images)
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
        return to_depth(nearest, depth_topic), to_pinhole(self._info, info_topic)


class DepthOutputs:
    """Publishes places, points and markers, each only while somebody listens."""

    def __init__(self, node: LifecycleNodeMixin, prefix: str) -> None:
        self._node = node
        create = node.create_lifecycle_publisher
        self._places = create(Affordance3D, f"{prefix}affordance_3d", NEWEST_OF_EACH_TASK)
        self._points = create(PointCloud2, f"{prefix}points", NEWEST)
        self._markers = create(MarkerArray, f"{prefix}markers", NEWEST)

    def destroy(self) -> None:
        """Take the topics down."""
        for publisher in (self._places, self._points, self._markers):
            self._node.destroy_lifecycle_publisher(publisher)

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        publishers = (self._places, self._points, self._markers)
        return any(publisher.get_subscription_count() for publisher in publishers)

    def publish(self, inference: Inference, depth: np.ndarray, camera: Pinhole) -> None:
        """Publish where the answers are, in the frame of their image."""
        header = inference.frame.message.header
        pixels = cv2.resize(inference.image, depth.shape[::-1])
        places, clouds, colours = [], [], []
        for task, result in zip(inference.tasks, inference.results, strict=True):
            points, rows, columns = back_project(depth, result.mask, camera)
            clouds.append(points)
            colours.append(pixels[rows, columns])
            placement = place(points)
            if placement is not None:
                places.append(to_affordance_3d(placement, result, header, task))
        for message in places:
            self._places.publish(message)
        if self._points.get_subscription_count():
            cloud = to_cloud(np.concatenate(clouds), np.concatenate(colours), header)
            self._points.publish(cloud)
        if self._markers.get_subscription_count():
            self._markers.publish(to_markers(places, header))


class Depth:
    """Both of one camera: publishers as long as it lives, subscriptions while it is active.

    Args:
        node: of the topics.
        prefix: what the inputs' names begin with, ``""`` or ``"front/"``.
        warn: is told why there is no place for an image.
    """

    def __init__(self, node: LifecycleNodeMixin, prefix: str, warn: Callable[[str], None]) -> None:
        self._node = node
        self._prefix = prefix
        self._warn = warn
        self._input: DepthInput | None = None
        self._outputs = DepthOutputs(node, f"~/{prefix.lstrip('/')}")

    def destroy(self) -> None:
        """Take the publishers down."""
        self._outputs.destroy()

    def subscribe(self, config: NodeConfig, group: CallbackGroup) -> None:
        """Listen."""
        self._input = DepthInput(self._node, self._prefix, config, self._warn, group)

    def unsubscribe(self) -> None:
        """Stop listening, and forget what came."""
        if self._input is not None:
            self._input.destroy()
        self._input = None

    @property
    def trouble(self) -> str:
        """As that of :class:`DepthInput`; empty while nobody listens."""
        listener = self._input
        return "" if listener is None else listener.trouble

    def publish(self, inference: Inference, config: NodeConfig) -> None:
        """Publish where an image's answers are, while anybody listens."""
        listener = self._input
        if listener is None or not self._outputs.wanted:
            return
        try:
            header = inference.frame.message.header
            depth, camera = listener.of(header, config.depth_tolerance)
        except ConversionError as error:
            self._warn(str(error))
        else:
            self._outputs.publish(inference, depth, camera)

"""Where in space the things are that serve the tasks."""

from __future__ import annotations

import cv2
import numpy as np
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from vltp_ros.imaging.instances import DepthView
from vltp_ros.msg import Affordance3D
from vltp_ros.node.answers import Answers
from vltp_ros.node.config import NodeConfig
from vltp_ros.node.conversions_3d import to_affordance_3d, to_cloud
from vltp_ros.node.markers import to_markers
from vltp_ros.node.publishers import Publishers
from vltp_ros.node.qos import of_answers, of_each_instance


class DepthOutputs:
    """Publishes poses, points and markers, each only while somebody listens.

    Args:
        publishers: of the camera.
        config: says what the topics promise.
    """

    def __init__(self, publishers: Publishers, config: NodeConfig) -> None:
        create = publishers.create
        self._poses = create(Affordance3D, "affordance_3d", of_each_instance(config))
        self._points = create(PointCloud2, "points", of_answers(config))
        self._markers = create(MarkerArray, "markers", of_answers(config))

    def publish(self, answers: Answers) -> None:
        """Publish where the things are that serve the tasks, in the frame of their image."""
        topics = (self._poses, self._points, self._markers)
        if not any(publisher.get_subscription_count() for publisher in topics):
            return
        view, header = answers.view, answers.header
        if view is None:
            return
        poses = [
            to_affordance_3d(instance.placement, instance, header, task)
            for task, _, instances in answers
            for instance in instances
            if instance.placement is not None
        ]
        for message in poses:
            self._poses.publish(message)
        if self._points.get_subscription_count():
            self._points.publish(_cloud(answers, view))
        if self._markers.get_subscription_count():
            self._markers.publish(to_markers(poses, answers.colours, header))


def _cloud(answers: Answers, view: DepthView) -> PointCloud2:
    """Return the points of all instances, in the colours of the image."""
    pixels = answers.inference.image
    if pixels.shape[:2] != view.depth.shape:
        pixels = cv2.resize(pixels, view.depth.shape[::-1])
    points, colours = [np.zeros((0, 3), np.float32)], [pixels[:0, 0]]
    numbers = [np.zeros(0, np.uint32)]
    for _, _, instances in answers:
        for instance in instances:
            if instance.points is not None:
                points.append(instance.points.xyz)
                colours.append(pixels[instance.points.rows, instance.points.columns])
                numbers.append(np.full(len(points[-1]), instance.track, np.uint32))
    return to_cloud(
        np.concatenate(points), np.concatenate(colours), np.concatenate(numbers), answers.header
    )

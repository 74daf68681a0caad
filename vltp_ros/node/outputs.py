"""What the node publishes about one camera's images."""

from __future__ import annotations

import time

import numpy as np
from rclpy.lifecycle import LifecycleNodeMixin
from rclpy.time import Time
from sensor_msgs.msg import Image

from vltp_ros.imaging.overlay import draw_overlay
from vltp_ros.msg import AffordanceMask, InferenceTiming
from vltp_ros.node import conversions
from vltp_ros.node.config import NodeConfig
from vltp_ros.node.inference import Inference
from vltp_ros.node.qos import NEWEST, NEWEST_OF_EACH_TASK


class CameraOutputs:
    """Publishers of one camera's results; each is computed only while somebody listens.

    ``prefix`` is what the topics' names begin with, ``"~/"`` or ``"~/front/"``.
    """

    def __init__(self, node: LifecycleNodeMixin, prefix: str) -> None:
        self._node = node
        create = node.create_lifecycle_publisher
        self._affordance = create(AffordanceMask, f"{prefix}affordance", NEWEST_OF_EACH_TASK)
        self._timing = create(InferenceTiming, f"{prefix}timing", NEWEST)
        self._pictures = {
            create(Image, f"{prefix}{name}", NEWEST): draw
            for name, draw in (
                ("mask", _mask),
                ("probability", _probability),
                ("kept", _kept),
                ("overlay", _overlay),
            )
        }

    def destroy(self) -> None:
        """Take the topics down."""
        for publisher in (self._affordance, self._timing, *self._pictures):
            self._node.destroy_lifecycle_publisher(publisher)

    def publish(self, inference: Inference, config: NodeConfig) -> dict[str, float]:
        """Publish the answers, with the header of their image.

        Returns the time of each stage, and ``total`` and ``latency`` as in InferenceTiming;
        milliseconds.
        """
        began = time.perf_counter()
        header = inference.frame.message.header
        if self._affordance.get_subscription_count():
            for task, result in zip(inference.tasks, inference.results, strict=True):
                message = conversions.to_affordance(result, header, task, inference.model)
                self._affordance.publish(message)
        for publisher, draw in self._pictures.items():
            if publisher.get_subscription_count():
                publisher.publish(conversions.to_image(draw(inference, config), header))
        ended = time.perf_counter()
        latency = self._node.get_clock().now() - Time.from_msg(header.stamp)
        return {
            **inference.times_ms,
            "publish": 1e3 * (ended - began),
            "total": 1e3 * (ended - inference.frame.arrived),
            "latency": latency.nanoseconds * 1e-6,
        }

    def publish_timing(self, timing: InferenceTiming) -> None:
        """Publish what the node has filled in."""
        self._timing.publish(timing)


def _mask(inference: Inference, config: NodeConfig) -> np.ndarray:
    """What serves any of the tasks."""
    return conversions.to_grey(np.logical_or.reduce([r.mask for r in inference.results]))


def _probability(inference: Inference, config: NodeConfig) -> np.ndarray:
    """That a pixel serves any of the tasks: of the likeliest one."""
    return np.maximum.reduce([r.probability for r in inference.results])


def _kept(inference: Inference, config: NodeConfig) -> np.ndarray:
    """How much work each part of the image got, all tasks taken together."""
    stages = zip(*(r.kept for r in inference.results), strict=True)
    kept = tuple(np.mean(stage, axis=0, dtype=np.float32) for stage in stages)
    return conversions.to_kept(kept, inference.image.shape[:2])


def _overlay(inference: Inference, config: NodeConfig) -> np.ndarray:
    """The image with every task's mask in a colour of its own."""
    painted = inference.image
    for number, result in enumerate(inference.results):
        label = f"{result.task} {result.score:.2f}" if config.overlay_labels else ""
        painted = draw_overlay(painted, result.mask, config.overlay_alpha, number, label)
    return painted

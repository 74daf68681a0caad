"""What the node publishes about one camera's images."""

from __future__ import annotations

import numpy as np
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image

from vltp_ros.imaging.overlay import draw_overlay
from vltp_ros.msg import AffordanceMask
from vltp_ros.node import conversions
from vltp_ros.node.config import NodeConfig
from vltp_ros.node.inference import Inference
from vltp_ros.node.qos import of_answers, of_each_task


class ImageOutputs:
    """Publishes masks and pictures, each only while somebody listens.

    Args:
        node: that publishes.
        prefix: what the topics' names begin with, ``"~/"`` or ``"~/front/"``.
        config: says what the topics promise.
    """

    def __init__(self, node: LifecycleNode, prefix: str, config: NodeConfig) -> None:
        self._node = node
        create = node.create_lifecycle_publisher
        self._affordance = create(AffordanceMask, f"{prefix}affordance", of_each_task(config))
        self._pictures = {
            create(Image, f"{prefix}{name}", of_answers(config)): draw
            for name, draw in (
                ("mask", _mask),
                ("probability", _probability),
                ("kept", _kept),
                ("overlay", _overlay),
            )
        }

    def destroy(self) -> None:
        """Take the topics down."""
        for publisher in (self._affordance, *self._pictures):
            self._node.destroy_lifecycle_publisher(publisher)

    def publish(self, inference: Inference, config: NodeConfig) -> None:
        """Publish the answers, with the header of their image."""
        header = inference.frame.message.header
        if self._affordance.get_subscription_count():
            for task, result in zip(inference.tasks, inference.results, strict=True):
                message = conversions.to_affordance(result, header, task, inference.model)
                self._affordance.publish(message)
        for publisher, draw in self._pictures.items():
            if publisher.get_subscription_count():
                publisher.publish(conversions.to_image(draw(inference, config), header))


def _mask(inference: Inference, config: NodeConfig) -> np.ndarray:
    """Draw what serves any of the tasks."""
    return conversions.to_grey(np.logical_or.reduce([r.mask for r in inference.results]))


def _probability(inference: Inference, config: NodeConfig) -> np.ndarray:
    """Draw how likely a pixel serves any of the tasks: the likeliest one."""
    return np.maximum.reduce([r.probability for r in inference.results])


def _kept(inference: Inference, config: NodeConfig) -> np.ndarray:
    """Draw how much work each part of the image got, all tasks taken together."""
    stages = zip(*(r.kept for r in inference.results), strict=True)
    kept = tuple(np.mean(stage, axis=0, dtype=np.float32) for stage in stages)
    height, width = inference.image.shape[:2]
    return conversions.to_kept(kept, (height, width))


def _overlay(inference: Inference, config: NodeConfig) -> np.ndarray:
    """Draw the image with every task's mask in a colour of its own."""
    painted = inference.image
    for number, result in enumerate(inference.results):
        label = result.label if config.overlay_labels else ""
        painted = draw_overlay(painted, result.mask, config.overlay_alpha, number, label)
    return painted

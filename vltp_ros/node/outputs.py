"""What the node publishes about one camera's images."""

from __future__ import annotations

import functools

import numpy as np
from sensor_msgs.msg import Image

from vltp_ros.imaging.images import draw_kept, to_grey
from vltp_ros.imaging.overlay import draw_overlay
from vltp_ros.msg import AffordanceMask
from vltp_ros.node import conversions
from vltp_ros.node.answers import Answers
from vltp_ros.node.config import NodeConfig
from vltp_ros.node.publishers import Publishers
from vltp_ros.node.qos import of_answers, of_each_task


class ImageOutputs:
    """Publishes masks and pictures, each only while somebody listens.

    Args:
        publishers: of the camera.
        config: says what the topics promise.
    """

    def __init__(self, publishers: Publishers, config: NodeConfig) -> None:
        create = publishers.create
        self._affordance = create(AffordanceMask, "affordance", of_each_task(config))
        self._instances = create(AffordanceMask, "instances", of_each_task(config))
        self._pictures = {
            create(Image, name, of_answers(config)): draw
            for name, draw in (
                ("mask", _mask),
                ("probability", _probability),
                ("kept", _kept),
                ("overlay", _overlay),
            )
        }

    def publish(self, answers: Answers, config: NodeConfig) -> None:
        """Publish the answers, with the header of their image."""
        self._publish_messages(answers)
        for publisher, draw in self._pictures.items():
            if publisher.get_subscription_count():
                publisher.publish(conversions.to_image(draw(answers, config), answers.header))

    def _publish_messages(self, answers: Answers) -> None:
        """Publish a message for each task, with and without its mask of the image's size."""
        full, small = (p.get_subscription_count() for p in (self._affordance, self._instances))
        for message, result in answers.messages() if full or small else ():
            if small:
                self._instances.publish(message)
            if full:
                message.mask = conversions.to_image(to_grey(result.mask), answers.header)
                self._affordance.publish(message)


def _mask(answers: Answers, config: NodeConfig) -> np.ndarray:
    """Draw what serves any of the tasks."""
    masks = [result.mask for result in answers.inference.results]
    return to_grey(functools.reduce(np.logical_or, masks))


def _probability(answers: Answers, config: NodeConfig) -> np.ndarray:
    """Draw how likely a pixel serves any of the tasks: the likeliest one."""
    probabilities = [result.probability for result in answers.inference.results]
    return functools.reduce(np.maximum, probabilities)


def _kept(answers: Answers, config: NodeConfig) -> np.ndarray:
    """Draw how much work each part of the image got, all tasks taken together."""
    stages = zip(*(result.kept for result in answers.inference.results), strict=True)
    kept = tuple(np.mean(stage, axis=0, dtype=np.float32) for stage in stages)
    height, width = answers.inference.image.shape[:2]
    return draw_kept(kept, (height, width))


def _overlay(answers: Answers, config: NodeConfig) -> np.ndarray:
    """Draw the image with every instance in a colour of its own."""
    found = [(result, instances) for _, result, instances in answers]
    alpha, labels = config.overlay_alpha, config.overlay_labels
    return draw_overlay(answers.inference.image, found, alpha, labels, answers.colours)

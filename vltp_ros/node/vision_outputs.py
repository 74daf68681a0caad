"""The answers as other packages take them: detections and a label image of vision_msgs."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from importlib import import_module
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from vltp_ros.imaging.instances import Instance
from vltp_ros.msg import Task
from vltp_ros.node.answers import Answers
from vltp_ros.node.config import NodeConfig
from vltp_ros.node.conversions import to_image, to_pose
from vltp_ros.node.publishers import Publishers
from vltp_ros.node.qos import LATCHED, of_answers
from vltp_ros.types import Segmentation


class VisionOutputs:
    """Publishes detections, and labels as Nav2's semantic segmentation layer takes them.

    A task is a class: its sentence is the name, in label images its place among the tasks the
    number, from 1; 0 is whatever serves none. The names are latched and come before their first
    image. Everything else is published while somebody listens.

    Args:
        publishers: of the camera.
        config: says what the topics promise, and whether there is depth.

    Raises:
        ModuleNotFoundError: where vision_msgs is not installed.
    """

    def __init__(self, publishers: Publishers, config: NodeConfig) -> None:
        # Not among the imports: the package is an extra.
        self._kinds: Any = import_module("vision_msgs.msg")
        create, kinds = publishers.create, self._kinds
        self._detections = create(kinds.Detection2DArray, "detections", of_answers(config))
        self._labels = create(Image, "label_mask", of_answers(config))
        self._confidence = create(Image, "label_confidence", of_answers(config))
        self._names = create(kinds.LabelInfo, "label_info", copy(LATCHED))
        self._detections_3d = None
        if config.depth:
            quality = of_answers(config)
            self._detections_3d = create(kinds.Detection3DArray, "detections_3d", quality)
        self._named: Any = None  # the names as they were last published

    def publish(self, answers: Answers) -> None:
        """Publish the answers, with the header of their image."""
        self._publish_labels(answers)
        if self._detections.get_subscription_count():
            self._detections.publish(self._to_detections(answers))
        if self._detections_3d is not None and self._detections_3d.get_subscription_count():
            self._detections_3d.publish(self._to_detections_3d(answers))

    def _publish_labels(self, answers: Answers) -> None:
        names = [task.text for task in answers.inference.tasks]
        threshold = answers.inference.results[0].above / 255
        if self._named != (names, threshold):
            self._named = names, threshold
            classes = [
                self._kinds.VisionClass(class_id=number, class_name=name)
                for number, name in enumerate(names, 1)
            ]
            self._names.publish(
                self._kinds.LabelInfo(header=answers.header, class_map=classes, threshold=threshold)
            )
        masks, levels = (p.get_subscription_count() for p in (self._labels, self._confidence))
        if masks or levels:
            labels, confidence = label_images(answers.inference.results)
            if masks:
                self._labels.publish(to_image(labels, answers.header))
            if levels:
                self._confidence.publish(to_image(confidence, answers.header))

    def _to_detections(self, answers: Answers) -> Any:
        kinds = self._kinds
        detections = []
        for task, _, instances in answers:
            for instance in instances:
                x, y, width, height = instance.box
                centre = kinds.Point2D(x=x + width / 2, y=y + height / 2)
                box = kinds.BoundingBox2D(
                    center=kinds.Pose2D(position=centre),
                    size_x=float(width),
                    size_y=float(height),
                )
                detections.append(
                    kinds.Detection2D(
                        header=answers.header,
                        results=[self._to_hypothesis(task, instance)],
                        bbox=box,
                        id=str(instance.track),
                    )
                )
        return kinds.Detection2DArray(header=answers.header, detections=detections)

    def _to_detections_3d(self, answers: Answers) -> Any:
        kinds = self._kinds
        detections = []
        for task, _, instances in answers:
            for instance in instances:
                if instance.placement is not None:
                    pose, extent = to_pose(instance.placement)
                    detections.append(
                        kinds.Detection3D(
                            header=answers.header,
                            results=[self._to_hypothesis(task, instance)],
                            bbox=kinds.BoundingBox3D(center=pose, size=extent),
                            id=str(instance.track),
                        )
                    )
        return kinds.Detection3DArray(header=answers.header, detections=detections)

    def _to_hypothesis(self, task: Task, instance: Instance) -> Any:
        """Return what an instance is, how surely, and where it is when that is known."""
        hypothesis = self._kinds.ObjectHypothesis(class_id=task.text, score=instance.score)
        result = self._kinds.ObjectHypothesisWithPose(hypothesis=hypothesis)
        if instance.placement is not None:
            result.pose.pose = to_pose(instance.placement)[0]
        return result


def label_images(results: Sequence[Segmentation]) -> tuple[np.ndarray, np.ndarray]:
    """Return which task each pixel serves, and how likely, uint8 [H, W] each.

    The likeliest of several tasks counts, from 1; 0 and a probability of 0 are for none. The
    probability is in steps of 1 / 255.
    """
    labels, levels = np.zeros((2, *results[0].levels.shape), np.uint8)
    for number, result in enumerate(results, 1):
        x, y, width, height = result.box
        box = slice(y, y + height), slice(x, x + width)
        is_likelier = result.mask[box] & (result.levels[box] > levels[box])
        np.copyto(labels[box], np.uint8(number), where=is_likelier)
        np.copyto(levels[box], result.levels[box], where=is_likelier)
    return labels, levels

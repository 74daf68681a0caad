"""What the node says about one image: its answers, and the things that they consist of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from vltp_ros.imaging.images import ConversionError, to_grey
from vltp_ros.imaging.instances import DepthView, Instance, separate
from vltp_ros.imaging.overlay import choose_colours
from vltp_ros.imaging.tracking import Tracker
from vltp_ros.msg import AffordanceMask, Task
from vltp_ros.node.conversions import to_affordance, to_image, to_instance
from vltp_ros.node.depth import DepthInput
from vltp_ros.node.diagnostics import Health
from vltp_ros.node.inference import Inference
from vltp_ros.types import Segmentation


class Answers:
    """The answers to one image; what they consist of is computed when somebody first wants it.

    Args:
        inference: the image and the model's answers.
        health: is told why the image has no depth.
        depth: of the image's camera; None: there is none.
        tolerance: seconds by which the stamps of an image and its depth may differ.
        max_points: about how many points each instance has at most.
        tracker: numbers the instances, and sees every image once; None: nothing is followed.
    """

    def __init__(
        self,
        inference: Inference,
        health: Health,
        depth: DepthInput | None = None,
        tolerance: float = 0.0,
        max_points: float = math.inf,
        tracker: Tracker | None = None,
    ) -> None:
        self.inference = inference
        self.header = inference.frame.message.header
        self._health = health
        self._depth = depth
        self._tolerance = tolerance
        self._max_points = max_points
        self._tracker = tracker

    def __iter__(self) -> Iterator[tuple[Task, Segmentation, tuple[Instance, ...]]]:
        """Return each task with its answer and the instances of that."""
        return zip(self.inference.tasks, self.inference.results, self.instances, strict=True)

    def messages(self) -> Iterator[tuple[AffordanceMask, Segmentation]]:
        """Return the message for each task, without its full-size mask, and the answer."""
        model = self.inference.model
        for task, result, instances in self:
            parts = [to_instance(instance, self.header) for instance in instances]
            yield to_affordance(result, parts, self.header, task, model), result

    def full_messages(self) -> Iterator[AffordanceMask]:
        """Return the message for each task, with the mask of the image's size."""
        for message, result in self.messages():
            message.mask = to_image(to_grey(result.mask), self.header)
            yield message

    @cached_property
    def view(self) -> DepthView | None:
        """The depth of the image; None where there is none that fits."""
        # Another thread may deactivate the node at any moment.
        topics = () if self._depth is None else self._depth.topics
        if self._depth is None or not topics:
            return None
        try:
            return self._depth.of(topics, self.header, self._tolerance)
        except ConversionError as error:
            self._health.warn(str(error))
            return None

    @cached_property
    def instances(self) -> tuple[tuple[Instance, ...], ...]:
        """The instances of each task."""
        results, view, most = self.inference.results, self.view, self._max_points
        separated = [separate(result, view, most) for result in results]
        if self._tracker is None:
            return tuple(separated)
        keys = [(task.id, task.text) for task in self.inference.tasks]
        seconds = self.header.stamp.sec + self.header.stamp.nanosec * 1e-9
        tracked = self._tracker.update(dict(zip(keys, separated, strict=True)), seconds)
        return tuple(tracked[key] for key in keys)

    @cached_property
    def colours(self) -> dict[int, np.ndarray]:
        """The colour of each instance in pictures and markers, uint8 [3] RGB, by its track."""
        instances = [instance for found in self.instances for instance in found]
        return choose_colours(self.inference.image, instances)

"""Looking for one thing in one camera's images until the answers agree."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Sequence
from dataclasses import replace

from vltp_ros.imaging.instances import Instance, overlap
from vltp_ros.msg import Task
from vltp_ros.node.inference import Inference
from vltp_ros.types import Segmentation


class Watch:
    """A task that somebody waits for the answers to, besides those that the node works on."""

    def __init__(self, text: str) -> None:
        self.task = Task(text=text)
        self.ended = ""  # why no more answers will come; empty: they may
        self._answers: queue.Queue = queue.Queue(maxsize=2)

    def put(self, inference: Inference, result: Segmentation) -> None:
        """Queue an answer, unless older ones still wait."""
        with contextlib.suppress(queue.Full):
            self._answers.put_nowait(replace(inference, tasks=(self.task,), results=(result,)))

    def get(self, seconds: float) -> Inference | None:
        """Return the next answer; None when there is none within so many seconds."""
        with contextlib.suppress(queue.Empty):
            return self._answers.get(timeout=seconds)
        return None


class InstanceStability:
    """Counts, for each thing, answers in a row that show it well enough and agree.

    Args:
        min_score: of its mask, 0..1.
        min_iou: intersection over union of its mask with the one before, 0..1.
    """

    def __init__(self, min_score: float, min_iou: float) -> None:
        self._min_score = min_score
        self._min_iou = min_iou
        self._counts: dict[int, tuple[Instance, float, int]] = {}
        """Track -> how it was seen last, the IoU with how it was before, and how often in a row."""

    def add(self, instances: Sequence[Instance]) -> None:
        """Take the instances of the newest answer, with their tracks."""
        last, self._counts = self._counts, {}
        for instance in instances:
            before, _, count = last.get(instance.track, (None, 0.0, 0))
            iou = 0.0 if before is None else overlap(before, instance)
            if instance.score < self._min_score:
                count = 0
            else:
                count = count + 1 if iou >= self._min_iou else 1
            self._counts[instance.track] = instance, iou, count

    @property
    def best(self) -> tuple[Instance | None, float, int]:
        """The thing seen most often in a row, of equal ones the likeliest; its IoU and count."""
        seen = self._counts.values()
        return max(seen, key=lambda one: (one[2], one[0].score), default=(None, 0.0, 0))

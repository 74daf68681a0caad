"""Looking for one thing in one camera's images until the answers agree."""

from __future__ import annotations

import contextlib
import queue

import numpy as np

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
            self._answers.put_nowait((inference, result))

    def get(self, seconds: float) -> tuple[Inference, Segmentation] | None:
        """Return the next answer; None when there is none within so many seconds."""
        with contextlib.suppress(queue.Empty):
            return self._answers.get(timeout=seconds)
        return None


class MaskStability:
    """Counts masks in a row that are good enough and agree, each with the one before.

    Args:
        min_score: of each mask, 0..1.
        min_iou: intersection over union of a mask with the one before, 0..1.
    """

    def __init__(self, min_score: float, min_iou: float) -> None:
        self._min_score = min_score
        self._min_iou = min_iou
        self._last: np.ndarray | None = None
        self.iou = 0.0  # of the newest mask with the one before
        self.frames = 0  # in a row that agree

    def add(self, result: Segmentation) -> None:
        """Take the newest answer."""
        last, self._last = self._last, result.mask
        self.iou = 0.0 if last is None else iou(last, result.mask)
        if not result.area or result.score < self._min_score:
            self.frames = 0
        elif self.iou < self._min_iou:
            self.frames = 1
        else:
            self.frames += 1


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two masks, bool [H, W].

    0 when their sizes differ, or both are empty.
    """
    if one.shape != other.shape:
        return 0.0
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 0.0

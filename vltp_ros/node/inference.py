"""One image through the model: what is known of it from its arrival to its answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from vltp_ros.imaging.images import decompress
from vltp_ros.msg import Task
from vltp_ros.node.bridge import Bridge
from vltp_ros.runtime.settings import InferenceSettings
from vltp_ros.types import Segmentation

BRIDGE = Bridge()


class Segmenter(Protocol):
    """What the node needs of a :class:`vltp_ros.runtime.session.Session`."""

    @property
    def name(self) -> str:
        """Name of the model."""

    @property
    def device_name(self) -> str:
        """Device and precision in words."""

    @property
    def gpu_memory_mib(self) -> float | None:
        """GPU memory that the process holds; None on a CPU."""

    @property
    def fault(self) -> str:
        """Why the device cannot be used any more; empty: it can."""

    @property
    def missed_deadlines(self) -> int:
        """How many images took longer than ``max_latency_ms``."""

    @property
    def late_captures(self) -> int:
        """How often something was compiled while an image waited."""

    def validate(self, settings: InferenceSettings) -> None:
        """Raise ValueError for settings that :meth:`configure` refuses; changes nothing."""

    def configure(self, settings: InferenceSettings) -> None:
        """Use other settings from the next image on; raises ValueError."""

    def warm_up(self) -> None:
        """Segment a blank image."""

    def refusal(self, task: str) -> str:
        """Return why a task is refused; empty: it is not."""

    def segment(
        self,
        image: np.ndarray,
        tasks: Sequence[str],
        *,
        stamp: float | None = None,
        stream: str = "",
    ) -> list[Segmentation]:
        """Find what serves each task in uint8 [H, W, 3] RGB."""

    def close(self) -> None:
        """Free the model."""


@dataclass(frozen=True)
class Frame:
    """An image as it arrived."""

    message: Image | CompressedImage
    topic: str  # that it came on, for errors
    arrived: float = field(default_factory=time.perf_counter)  # seconds

    def pixels(self) -> np.ndarray:
        """Return uint8 [H, W, 3] RGB. Raises ConversionError naming the topic."""
        convert = decompress if isinstance(self.message, CompressedImage) else BRIDGE.to_rgb
        return convert(self.message, self.topic)


@dataclass(frozen=True)
class Inference:
    """An answered image."""

    frame: Frame
    image: np.ndarray  # uint8 [H, W, 3] RGB
    tasks: tuple[Task, ...]
    results: tuple[Segmentation, ...]  # one per task
    times_ms: dict[str, float]  # per stage so far, in order of execution
    model: str  # name
    missed_deadlines: int = 0  # images so far that took longer than they may


def infer(
    session: Segmenter, frame: Frame, tasks: Sequence[Task], stream: str | None = None
) -> Inference:
    """Convert an image and segment it.

    Args:
        session: the model.
        frame: the image.
        tasks: at least one.
        stream: name of the camera; None for an image that stands for itself.

    Raises:
        ConversionError: for an image that is refused.
        ValueError: for a task that is refused, and what else the session raises.
    """
    began = time.perf_counter()
    image = frame.pixels()
    converted = time.perf_counter()
    stamp = None if stream is None else _seconds(frame.message.header)
    texts = [task.text for task in tasks]
    results = session.segment(image, texts, stamp=stamp, stream=stream or "")
    times_ms = {
        "queue": 1e3 * (began - frame.arrived),
        "convert": 1e3 * (converted - began),
        **results[0].times_ms,
    }
    missed = session.missed_deadlines
    return Inference(frame, image, tuple(tasks), tuple(results), times_ms, session.name, missed)


def infer_each(
    session: Segmenter, frame: Frame, tasks: Sequence[Task], stream: str | None = None
) -> tuple[Inference, dict[int, Segmentation], dict[int, RuntimeError]]:
    """Segment an image for all tasks at once, and where that fails for each alone.

    One task on which the model fails would else leave the others without an answer.

    Returns:
        What is known of the image; the answers, and the errors instead, by the tasks' numbers,
        0-based and in order.

    Raises:
        RuntimeError: where no task has an answer, or the model cannot be used any more.
        ConversionError, ValueError: as :func:`infer`.
    """
    try:
        inference = infer(session, frame, tasks, stream)
        return inference, dict(enumerate(inference.results)), {}
    except RuntimeError:
        if len(tasks) == 1 or session.fault:
            raise
    results: dict[int, Segmentation] = {}
    errors: dict[int, RuntimeError] = {}
    for number, task in enumerate(tasks):
        try:
            inference = infer(session, frame, [task], stream)
            (results[number],) = inference.results
        except RuntimeError as error:
            errors[number] = error
            if session.fault or len(errors) == len(tasks):
                raise
    return inference, results, errors


def _seconds(header: Header) -> float:
    return header.stamp.sec + header.stamp.nanosec * 1e-9

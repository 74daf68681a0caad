"""One image through the model: what is known of it from its arrival to its answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from vltp_ros.msg import Task
from vltp_ros.runtime.session import Session
from vltp_ros.types import Segmentation


@dataclass(frozen=True)
class Frame:
    """An image as it arrived."""

    message: Image | CompressedImage
    arrived: float = field(default_factory=time.perf_counter)  # seconds


@dataclass(frozen=True)
class Inference:
    """An answered image."""

    frame: Frame
    image: np.ndarray  # uint8 [H, W, 3] RGB
    tasks: tuple[Task, ...]
    results: tuple[Segmentation, ...]  # one per task
    times_ms: dict[str, float]  # per stage so far, in order of execution
    model: str  # name


def infer(
    session: Session,
    frame: Frame,
    tasks: Sequence[Task],
    pixels: Callable[[Image | CompressedImage], np.ndarray],
    stream: str | None = None,
) -> Inference:
    """Convert and segment; raises what ``pixels(message)`` or the session raises.

    ``stream`` is the camera's name; None for an image that stands for itself.
    """
    began = time.perf_counter()
    image = pixels(frame.message)
    converted = time.perf_counter()
    video = {} if stream is None else {"stamp": _seconds(frame.message.header), "stream": stream}
    results = session.segment(image, [task.text for task in tasks], **video)
    times_ms = {
        "queue": 1e3 * (began - frame.arrived),
        "convert": 1e3 * (converted - began),
        **results[0].times_ms,
    }
    return Inference(frame, image, tuple(tasks), tuple(results), times_ms, session.name)


def _seconds(header: Header) -> float:
    return header.stamp.sec + header.stamp.nanosec * 1e-9

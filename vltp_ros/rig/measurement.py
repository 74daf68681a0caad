"""Listens to the node's masks and timings for a while, as a measurement does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from vltp_ros.msg import Affordance3D, AffordanceMask, InferenceTiming
from vltp_ros.node.qos import NEWEST

OUTPUTS: dict[str, dict[str, type]] = {
    "mask": {"mask": Image},
    "instances": {"instances": AffordanceMask},
    "all": {
        "instances": AffordanceMask,
        "affordance": AffordanceMask,
        "mask": Image,
        "overlay": Image,
        "affordance_3d": Affordance3D,
        "points": PointCloud2,
        "markers": MarkerArray,
    },
}
"""What may be listened to, and of which type it is; with the node's timing. Of the first the
messages are counted."""

VISION = {"detections": "Detection2DArray", "detections_3d": "Detection3DArray"}
"""What is among all outputs where vision_msgs is installed, beside label images."""

SETTLE_SECONDS = 2.0  # after the first answer, before anything counts


@dataclass
class Measurement:
    """The messages that came within a time."""

    timings: list[InferenceTiming] = field(default_factory=list)
    masks: int = 0
    seconds: float = 0.0


class Listener(Node):
    """Keeps the node's answers to still_camera's images.

    Args:
        outputs: one of OUTPUTS.
    """

    def __init__(self, outputs: str) -> None:
        super().__init__("measurement")
        self.measurement = Measurement()
        self.failure = ""
        self.create_subscription(InferenceTiming, "vltp/timing", self._on_timing, NEWEST)
        topics = OUTPUTS[outputs] | (_vision_outputs() if outputs == "all" else {})
        for number, (topic, kind) in enumerate(topics.items()):
            receive = self._ignore if number else self._count
            self.create_subscription(kind, f"vltp/{topic}", receive, NEWEST)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, NEWEST)

    def _on_timing(self, message: InferenceTiming) -> None:
        self.measurement.timings.append(message)

    def _count(self, message: Any) -> None:
        self.measurement.masks += 1

    def _ignore(self, message: Any) -> None:
        """Take a message, as a subscriber does."""

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.level == DiagnosticStatus.ERROR:
                self.failure = f"{status.name}: {status.message}"


def _vision_outputs() -> dict[str, type]:
    """Return the outputs that need vision_msgs; none where it is missing."""
    try:
        kinds = import_module("vision_msgs.msg")
    except ModuleNotFoundError:
        return {}
    labels = dict.fromkeys(("label_mask", "label_confidence"), Image)
    return labels | {topic: getattr(kinds, kind) for topic, kind in VISION.items()}


def measure(
    outputs: str,
    seconds: float,
    patience: float,
    check: Callable[[], None],
    begin: Callable[[], None],
) -> Measurement:
    """Listen to some of the node's OUTPUTS for ``seconds``, once it has answered for a while.

    ``check()`` is called all the while and may raise; ``begin()`` when it begins to count. Call
    between rclpy.init and shutdown. Raises RuntimeError when no answer comes within ``patience``
    seconds, or the node says that it cannot work.
    """
    listener = Listener(outputs)
    executor = SingleThreadedExecutor()
    executor.add_node(listener)

    def listen(until: Callable[[], bool], limit: float) -> None:
        end = time.monotonic() + limit
        while time.monotonic() < end and not until():
            executor.spin_once(timeout_sec=0.1)
            check()
            if listener.failure:
                raise RuntimeError(listener.failure)

    try:
        listen(lambda: bool(listener.measurement.timings), patience)
        if not listener.measurement.timings:
            raise RuntimeError(f"no mask came within {patience:.0f} s; see the messages above")
        listen(lambda: False, SETTLE_SECONDS)
        listener.measurement = Measurement()
        begin()
        began = time.monotonic()
        listen(lambda: False, seconds)
        listener.measurement.seconds = time.monotonic() - began
    finally:
        executor.shutdown()
        listener.destroy_node()
    return listener.measurement

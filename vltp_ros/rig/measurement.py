"""Listens to the node's masks and timings for a while, as a measurement does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image

from vltp_ros.msg import InferenceTiming
from vltp_ros.node.qos import NEWEST

SETTLE_SECONDS = 2.0  # after the first answer, before anything counts


@dataclass
class Measurement:
    """The messages that came within a time."""

    timings: list[InferenceTiming] = field(default_factory=list)
    masks: int = 0
    seconds: float = 0.0


class Listener(Node):
    """Keeps the node's answers to still_camera's images."""

    def __init__(self) -> None:
        super().__init__("measurement")
        self.measurement = Measurement()
        self.failure = ""
        self.create_subscription(InferenceTiming, "vltp/timing", self._on_timing, NEWEST)
        self.create_subscription(Image, "vltp/mask", self._on_mask, NEWEST)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, NEWEST)

    def _on_timing(self, message: InferenceTiming) -> None:
        self.measurement.timings.append(message)

    def _on_mask(self, message: Image) -> None:
        self.measurement.masks += 1

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.level == DiagnosticStatus.ERROR:
                self.failure = f"{status.name}: {status.message}"


def measure(
    seconds: float, patience: float, check: Callable[[], None], begin: Callable[[], None]
) -> Measurement:
    """Listen for ``seconds``, once the node has answered for a while.

    ``check()`` is called all the while and may raise; ``begin()`` when it begins to count. Call
    between rclpy.init and shutdown. Raises RuntimeError when no answer comes within ``patience``
    seconds, or the node says that it cannot work.
    """
    listener = Listener()
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

"""Listens to camera and node, and keeps what belongs together."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image

from vltp_ros.imaging.images import to_rgb
from vltp_ros.msg import AffordanceMask, InferenceTiming
from vltp_ros.node.qos import NEWEST
from vltp_ros.rig.demo_video import VideoFrame, to_jpeg

PENDING = 50  # stamps that parts are kept for while others are on their way


class Recorder(Node):
    """Puts the messages that carry one image's stamp together as a frame."""

    def __init__(self) -> None:
        super().__init__("recorder")
        self.frames: list[VideoFrame] = []
        self.latencies_ms: list[float] = []
        self.received = self.dropped = 0  # of the node's images, as it counts them
        self.failure = ""  # why the node cannot work, by its diagnostics
        self._parts: dict[tuple[int, int], dict] = {}
        kinds = {
            "image": Image,
            "vltp/overlay": Image,
            "vltp/kept": Image,
            "vltp/affordance": AffordanceMask,
            "vltp/timing": InferenceTiming,
        }
        self._topics = tuple(kinds)
        for topic, kind in kinds.items():
            self.create_subscription(kind, topic, self._receiver(topic), NEWEST)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, NEWEST)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.level == DiagnosticStatus.ERROR:
                self.failure = f"{status.name}: {status.message}"

    def _receiver(self, topic: str) -> Callable[[Any], None]:
        def receive(message: Any) -> None:
            stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
            parts = self._parts.setdefault(stamp, {})
            # Compressed at once: a minute of raw images would not fit in memory.
            colour = topic in ("image", "vltp/overlay")
            parts[topic] = to_jpeg(to_rgb(message, topic)) if colour else message
            if len(parts) == len(self._topics):
                self._finish(self._parts.pop(stamp))
            while len(self._parts) > PENDING:
                del self._parts[min(self._parts)]

        return receive

    def _finish(self, parts: dict) -> None:
        image, overlay, kept, affordance, timing = (parts[topic] for topic in self._topics)
        self.latencies_ms.append(timing.latency_ms)
        self.received, self.dropped = timing.received, timing.dropped
        self.frames.append(
            VideoFrame(
                seconds=time.monotonic(),
                image=image,
                overlay=overlay,
                kept=to_rgb(kept, "vltp/kept")[..., 0],
                kept_shares=tuple(k / affordance.total_tokens for k in affordance.kept_tokens),
                task=affordance.task,
                times_ms={stage.name: stage.milliseconds for stage in timing.stages},
            )
        )


def record(
    seconds: float, patience: float, check: Callable[[], None], begin: Callable[[], None]
) -> Recorder:
    """Listen for ``seconds`` from the first mask on, which may take ``patience`` seconds to come.

    ``begin()`` is called once, when the node listens to images: what comes before is lost.
    ``check()`` is called all the while and may raise. Call between rclpy.init and shutdown. Raises
    RuntimeError when the node says that it cannot work.
    """
    recorder = Recorder()
    executor = SingleThreadedExecutor()
    executor.add_node(recorder)
    end, has_begun = time.monotonic() + patience, False
    try:
        while (now := time.monotonic()) < end:
            waiting = not recorder.frames
            executor.spin_once(timeout_sec=0.1)
            check()
            if not has_begun and recorder.count_subscribers("image") > 1:  # one is the recorder's
                has_begun = True
                begin()
            if recorder.failure:
                raise RuntimeError(recorder.failure)
            if waiting and recorder.frames:
                end = now + seconds
    finally:
        executor.shutdown()
        recorder.destroy_node()
    return recorder

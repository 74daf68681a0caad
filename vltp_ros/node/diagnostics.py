"""What the node counts and measures, and its message on /diagnostics."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

WINDOW = 200  # newest images that rates and percentiles are taken over
STALE_SECONDS = 2.0  # without an image: a warning
ERROR_SECONDS = 5.0  # a warning stays in the message this long after it last happened


class Health:
    """Counts and times of one node, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.model = ""
        self.device = ""
        self.state = "unconfigured"
        self.task = ""
        self.reset()

    def reset(self) -> None:
        """Start counting afresh, as when the node is activated."""
        with self._lock:
            self.received = self.dropped = self.answered = 0
            self._arrivals: deque[float] = deque(maxlen=WINDOW)
            self._stages: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
            self._error, self._error_time = "", -ERROR_SECONDS

    def arrival(self, dropped: bool) -> None:
        """Count an image, and the older one that it replaced."""
        with self._lock:
            self.received += 1
            self.dropped += dropped
            self._arrivals.append(time.monotonic())

    def answer(self, times_ms: dict[str, float]) -> None:
        """Count an answered image and the time of each of its stages, milliseconds."""
        with self._lock:
            self.answered += 1
            for name, value in times_ms.items():
                self._stages[name].append(value)

    def error(self, text: str) -> None:
        """Remember what went wrong last."""
        with self._lock:
            self._error, self._error_time = text, time.monotonic()

    def status(self, name: str) -> DiagnosticStatus:
        """The node's diagnostic status."""
        with self._lock:
            now = time.monotonic()
            level, message = self._summary(now)
            values = {
                "state": self.state,
                "model": self.model,
                "task": self.task,
                "received": str(self.received),
                "answered": str(self.answered),
                "dropped": str(self.dropped),
                "last error": self._error,
                **self._input(now),
                **self._latencies(),
            }
        return DiagnosticStatus(
            level=level,
            name=f"{name}: inference",
            message=message,
            hardware_id=self.device,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _summary(self, now: float) -> tuple[bytes, str]:
        if self.state == "unconfigured" and self._error:  # nothing works until somebody acts
            return DiagnosticStatus.ERROR, self._error
        if now - self._error_time < ERROR_SECONDS:
            return DiagnosticStatus.WARN, self._error
        if self.state == "active" and not self.task:
            return DiagnosticStatus.WARN, "no task yet"
        if self.state == "active" and not self._arrivals:
            return DiagnosticStatus.WARN, "no image yet"
        if self.state == "active" and now - self._arrivals[-1] > STALE_SECONDS:
            return DiagnosticStatus.STALE, f"no image for {now - self._arrivals[-1]:.0f} s"
        return DiagnosticStatus.OK, self.state

    def _input(self, now: float) -> dict[str, str]:
        """Rate and age of the images, empty before there are any."""
        if len(self._arrivals) < 2:
            return {}
        span = self._arrivals[-1] - self._arrivals[0]
        return {
            "input rate (Hz)": f"{(len(self._arrivals) - 1) / max(span, 1e-9):.1f}",
            "input age (s)": f"{now - self._arrivals[-1]:.2f}",
        }

    def _latencies(self) -> dict[str, str]:
        """Median and 99th percentile of each stage."""
        return {
            f"{name} p50/p99 (ms)": "{:.1f}/{:.1f}".format(*np.percentile(times, (50, 99)))
            for name, times in self._stages.items()
        }


def diagnostic_array(stamp, status: DiagnosticStatus) -> DiagnosticArray:
    """The message that /diagnostics takes."""
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array

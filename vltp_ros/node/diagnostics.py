"""What the node counts and measures, and its message on /diagnostics."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.impl.rcutils_logger import RcutilsLogger

from vltp_ros.node.config import NodeConfig
from vltp_ros.runtime.caveat import doubt_about
from vltp_ros.types import Segmentation

WINDOW = 200  # newest images that rates and percentiles are taken over
ERROR_SECONDS = 5.0  # what went wrong stays in the message this long after it last happened
WARNING_SECONDS = 2.0  # at least this long between warnings in the log


@dataclass(frozen=True)
class ModelCounts:
    """What is counted of the model."""

    gpu_memory_mib: float | None = None  # that its process holds; None on a CPU or without one
    late_captures: int = 0  # how often something was compiled while an image waited
    restarts: int = 0  # how often a model was loaded again after it was given up


class CameraHealth:
    """Counts of one camera's images, from any thread."""

    def __init__(self, topic: str) -> None:
        self._lock = threading.Lock()
        self.topic = topic
        self.reset()

    def reset(self) -> None:
        """Start counting afresh, as when the node is activated."""
        with self._lock:
            self.received = self.dropped = self.answered = 0
            self._dropped_before = 0  # when the last image was answered
            self._arrivals: deque[float] = deque(maxlen=WINDOW)

    def arrival(self, dropped: bool) -> None:
        """Count an image, and the older one that it replaced."""
        with self._lock:
            self.received += 1
            self.dropped += dropped
            self._arrivals.append(time.monotonic())

    def answer(self) -> tuple[int, int, int]:
        """Count an answered image.

        Returns the images received, dropped, and dropped since the answer before.
        """
        with self._lock:
            self.answered += 1
            since, self._dropped_before = self.dropped - self._dropped_before, self.dropped
            return self.received, self.dropped, since

    def status(
        self, name: str, active: bool, limits: NodeConfig, lost: int, trouble: str
    ) -> DiagnosticStatus:
        """Return the camera's diagnostic status.

        Args:
            name: of the node.
            active: whether the node is.
            limits: when to warn.
            lost: images that the middleware could not deliver.
            trouble: why images do not arrive; empty while they do.
        """
        with self._lock:
            now = time.monotonic()
            level, message = DiagnosticStatus.OK, "inactive"
            if active:
                level, message = self._summary(now, limits, lost, trouble)
            values = {
                "received": str(self.received),
                "answered": str(self.answered),
                "dropped": str(self.dropped),
                "lost on the way": str(lost),
                **self._input(now),
            }
        return _status(level, f"{name}: {self.topic}", message, "", values)

    def _summary(
        self, now: float, limits: NodeConfig, lost: int, trouble: str
    ) -> tuple[bytes, str]:
        if trouble:
            return DiagnosticStatus.WARN, trouble
        if not self._arrivals:
            return DiagnosticStatus.WARN, "no image yet"
        age, rate = now - self._arrivals[-1], self._rate()
        share = (self.dropped + lost) / (self.received + lost)
        if 0 < limits.max_input_age < age:
            return DiagnosticStatus.STALE, f"no image for {age:.1f} s"
        if 0 < rate < limits.min_input_rate:
            return DiagnosticStatus.WARN, f"{rate:.1f} images a second"
        if share > limits.max_dropped:
            return DiagnosticStatus.WARN, f"{share:.0%} of the images dropped or lost"
        return DiagnosticStatus.OK, "receiving"

    def _rate(self) -> float:
        """Return the images a second; 0 before it can be told."""
        if len(self._arrivals) < 2:
            return 0.0
        return (len(self._arrivals) - 1) / max(self._arrivals[-1] - self._arrivals[0], 1e-9)

    def _input(self, now: float) -> dict[str, str]:
        """Return rate and age of the images; empty before there are any."""
        if not self._arrivals:
            return {}
        return {
            "input rate (Hz)": f"{self._rate():.1f}",
            "input age (s)": f"{now - self._arrivals[-1]:.2f}",
        }


class Health:
    """State and times of one node, from any thread; what goes wrong is logged too."""

    def __init__(self, logger: RcutilsLogger) -> None:
        self._logger = logger
        self._lock = threading.Lock()
        self._doubts: deque[str] = deque(maxlen=WINDOW)  # the last ones that were logged
        self.model = ""
        self.device = ""
        self.enter("unconfigured")
        self.reset()

    def reset(self) -> None:
        """Forget times and errors, as when the node is activated."""
        with self._lock:
            self._stages: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
            self._error, self._error_time = "", -ERROR_SECONDS
            self._error_level = DiagnosticStatus.WARN

    def answer(self, times_ms: dict[str, float]) -> None:
        """Remember the time of each stage of an answered image, milliseconds."""
        with self._lock:
            for name, value in times_ms.items():
                self._stages[name].append(value)

    def enter(self, state: str, progress: str = "") -> None:
        """Note the node's state, and how far it is."""
        with self._lock:
            self.state, self.progress, self._since = state, progress, time.monotonic()
            self._failure = ""

    def report(self, progress: str) -> None:
        """Note what the node does while it is configured."""
        self.enter("configuring", progress)
        self._logger.info(progress)

    def warn(self, text: str) -> None:
        """Note that something which came in was refused."""
        self._remember(text, DiagnosticStatus.WARN)
        self._logger.warning(text, throttle_duration_sec=WARNING_SECONDS)

    def doubt(self, answers: Iterable[Segmentation]) -> None:
        """Log which tasks have words that the model has never seen, each once."""
        for answer in answers:
            doubt = doubt_about(answer.task, answer.unseen_words)
            if doubt and doubt not in self._doubts:
                self._doubts.append(doubt)
                self._logger.warning(doubt)

    def error(self, text: str) -> None:
        """Note that an image that was taken got no answer."""
        self._remember(text, DiagnosticStatus.ERROR)
        self._logger.error(text, throttle_duration_sec=WARNING_SECONDS)

    def fail(self, text: str) -> None:
        """Note why the node is, or soon will be, unconfigured."""
        self.enter("unconfigured")
        self._remember(text, DiagnosticStatus.ERROR)
        with self._lock:
            self._failure = text
        self._logger.error(text)

    def _remember(self, error: str, level: bytes) -> None:
        with self._lock:
            self._error, self._error_time, self._error_level = error, time.monotonic(), level

    def status(
        self,
        name: str,
        tasks: int,
        enabled: bool,
        model: ModelCounts,
        limits: NodeConfig,
    ) -> DiagnosticStatus:
        """Return the node's diagnostic status.

        Args:
            name: of the node.
            tasks: how many it has.
            enabled: whether it works on images.
            model: what is counted of it.
            limits: when to warn.
        """
        with self._lock:
            warning = self._slowness(limits)
            values = {
                "state": self.state,
                "model": self.model,
                "tasks": str(tasks),
                "last error": self._error,
                **self._latencies(),
            }
            if model.late_captures:
                values["compiled while an image waited"] = str(model.late_captures)
            if model.restarts:
                values["model restarts"] = str(model.restarts)
            if model.gpu_memory_mib is not None:
                values["GPU memory (MiB)"] = f"{model.gpu_memory_mib:.0f}"
                if 0 < limits.max_gpu_memory < model.gpu_memory_mib:
                    warning = warning or f"{model.gpu_memory_mib:.0f} MiB of GPU memory"
            level, message = self._summary(time.monotonic(), tasks, enabled, warning)
        return _status(level, f"{name}: inference", message, self.device, values)

    def _summary(self, now: float, tasks: int, enabled: bool, warning: str) -> tuple[bytes, str]:
        if self._failure:  # nothing works until somebody acts
            return DiagnosticStatus.ERROR, self._failure
        if now - self._error_time < ERROR_SECONDS:
            return self._error_level, self._error
        if self.state == "active" and not enabled:
            return DiagnosticStatus.OK, "disabled"
        if self.state == "active" and not tasks:
            return DiagnosticStatus.WARN, "no task yet"
        if warning:
            return DiagnosticStatus.WARN, warning
        if self.progress:
            return DiagnosticStatus.OK, f"{self.state}: {self.progress}, {now - self._since:.0f} s"
        return DiagnosticStatus.OK, self.state

    def _slowness(self, limits: NodeConfig) -> str:
        """Return what is too slow; empty when nothing is."""
        ages = self._stages.get("latency")
        if not ages:
            return ""
        for percentile, limit in ((50, limits.max_latency_p50), (99, limits.max_latency_p99)):
            seconds = np.percentile(ages, percentile) / 1e3
            if 0 < limit < seconds:
                return f"age at publication: p{percentile} {seconds:.3f} s"
        return ""

    def _latencies(self) -> dict[str, str]:
        """Return median and 99th percentile of each stage."""
        return {
            f"{name} p50/p99 (ms)": "{:.1f}/{:.1f}".format(*np.percentile(times, (50, 99)))
            for name, times in self._stages.items()
        }


def _status(
    level: bytes, name: str, message: str, hardware: str, values: dict[str, str]
) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=level,
        name=name,
        message=message,
        hardware_id=hardware,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def diagnostic_array(stamp: Time, statuses: list[DiagnosticStatus]) -> DiagnosticArray:
    """Return the message that /diagnostics takes."""
    array = DiagnosticArray(status=statuses)
    array.header.stamp = stamp
    return array

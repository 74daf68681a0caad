"""Seconds by the node's clock, which may be a simulation's."""

from __future__ import annotations

import time

from rclpy.clock import Clock, ROSClock


class Stopwatch:
    """Measures how much time has passed since it was made, looked at again and again.

    A simulation's clock, or a bag's, runs at its own speed. What it jumps back does not count, nor
    where it jumps to when its first message comes; until then real seconds count, or nothing would
    ever end. Without one, real seconds count too: a computer's clock may be set.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = self._now()
        self._last_steady = self._last_moved = time.monotonic()
        self.seconds = 0.0  # until the last look

    def look(self) -> float:
        """Return the seconds until now."""
        now, steady = self._now(), time.monotonic()
        if now and self._last:
            passed = max(0.0, (now - self._last) * 1e-9)
        else:
            passed = steady - self._last_steady
        if passed:
            self.seconds += passed
            self._last_moved = steady
        self._last, self._last_steady = now, steady
        return self.seconds

    @property
    def is_simulated(self) -> bool:
        """Whether the clock is a simulation's."""
        return isinstance(self._clock, ROSClock) and self._clock.ros_time_is_active

    @property
    def has_come(self) -> bool:
        """Whether the simulation has a time at the last look."""
        return bool(self._last)

    @property
    def still_seconds(self) -> float:
        """For how many real seconds the clock had not gone on at the last look."""
        return self._last_steady - self._last_moved

    def _now(self) -> int:
        """Return the simulation's time, nanoseconds; 0 without one."""
        return self._clock.now().nanoseconds if self.is_simulated else 0

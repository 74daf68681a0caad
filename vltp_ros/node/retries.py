"""When to load a model again that was given up."""

from __future__ import annotations

import math
import time

RETRY_SECONDS = 2.0, 60.0
"""Before a model is loaded again, at first and at most: not before diagnostics have told why."""


class Retries:
    """When to load a model again that was given up: soon, then less and less often."""

    def __init__(self) -> None:
        self.count = 0  # of those that loaded
        self._pause = RETRY_SECONDS[0]
        self._due = -math.inf
        self._last_loaded = math.inf

    def loaded(self) -> None:
        """Note that a model was loaded."""
        now = time.monotonic()
        self.count += self._due > -math.inf
        self._last_loaded, self._due = now, -math.inf

    def given_up(self) -> None:
        """Note that a model was given up."""
        now = time.monotonic()
        if now - self._last_loaded > RETRY_SECONDS[1]:  # it has worked for a while
            self._pause = RETRY_SECONDS[0]
        self._due = now + self._pause
        self._pause = min(2 * self._pause, RETRY_SECONDS[1])

    @property
    def is_due(self) -> bool:
        """Whether the pause is over."""
        return time.monotonic() >= self._due

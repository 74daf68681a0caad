"""Notices a model that does not answer any more."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from vltp_ros.node.worker import Worker

PERIOD = 0.2  # seconds between looks


class Watchdog:
    """Looks at the worker now and then: what is stuck in its thread cannot be ended from outside.

    Args:
        node: whose timer is used.
        worker: the one to look at, None while there is none.
        limit: seconds that one piece of its work may take; 0: any.
        give_up: is called with the seconds that it has taken; has to :meth:`abandon` the worker.
        recover: is called once the work of the abandoned ones has ended after all.
    """

    def __init__(
        self,
        node: Node,
        worker: Callable[[], Worker | None],
        limit: Callable[[], float],
        give_up: Callable[[float], None],
        recover: Callable[[], None],
    ) -> None:
        self._worker = worker
        self._limit = limit
        self._give_up = give_up
        self._recover = recover
        self._abandoned: list[Worker] = []
        node.create_timer(PERIOD, self._look, MutuallyExclusiveCallbackGroup())

    def abandon(self, worker: Worker) -> None:
        """Keep in mind one that was told to stop and did not."""
        self._abandoned.append(worker)

    @property
    def is_stuck(self) -> bool:
        """Whether an abandoned worker still runs."""
        return any(worker.is_alive for worker in self._abandoned)

    def _look(self) -> None:
        worker = self._worker()
        if worker is not None and 0 < self._limit() < (seconds := worker.busy_seconds):
            self._give_up(seconds)
        if self._abandoned and not self.is_stuck:
            self._abandoned.clear()
            self._recover()

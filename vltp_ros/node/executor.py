"""rclpy's executor of several threads, without the work that it does for nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import ParamSpec, TypeVar

from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 0.1  # seconds between looks at whether the executor was shut down


class ThreadsExecutor(MultiThreadedExecutor):
    """Runs callbacks in so many threads.

    rclpy's own hands a callback to its threads again and again until one of them has begun it
    (rclpy issue 1452, mended in newer releases). While it does, it holds Python's lock, so that
    the threads begin late and the middleware loses images.
    """

    def __init__(self, threads: int, *, context: Context | None = None) -> None:
        super().__init__(threads, context=context)
        self._executor = _Pool(threads, lambda: self._is_shutdown)


class _Pool(ThreadPoolExecutor):
    """Comes back from :meth:`submit` when a thread has begun the work."""

    def __init__(self, threads: int, is_shutdown: Callable[[], bool]) -> None:
        super().__init__(threads)
        self._is_shutdown = is_shutdown

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function in a thread, as soon as one is free."""
        begun = Event()

        def run() -> T:
            begun.set()
            return fn(*args, **kwargs)

        future = super().submit(run)
        while not begun.wait(PATIENCE) and not self._is_shutdown():
            pass
        return future

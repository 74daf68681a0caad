"""The thread that owns the model. Knows nothing of ROS."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any, Protocol

from vltp_ros.node.inference import Segmenter

MODEL_THREAD = "model"


class Work(Protocol):
    """Something that the model's thread does with the session."""

    def run(self, session: Segmenter) -> None:
        """Do it; must not raise."""


class Inbox:
    """Holds work between producers that never wait and one consumer, who takes from all in turn.

    Each :meth:`slot` has room for the newest work of its owner; a queue keeps all of the rest.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.is_closed = False
        self._queue: deque[Work] = deque()
        self._slots: list[deque[Work]] = []
        self._turn = 0

    def slot(self) -> Slot:
        """Add a slot."""
        newest: deque[Work] = deque(maxlen=1)
        with self.changed:
            self._slots.append(newest)
        return Slot(self, newest)

    def queue(self, work: Work) -> bool:
        """Leave work that no other replaces; False when the inbox is closed."""
        with self.changed:
            if not self.is_closed:
                self._queue.append(work)
                self.changed.notify()
            return not self.is_closed

    def take(self) -> Work | None:
        """Wait for work; None once the inbox is closed."""
        with self.changed:
            self.changed.wait_for(lambda: self.is_closed or self._queue or any(self._slots))
            if self.is_closed:
                return None
            lines = [*self._slots, self._queue]
            order = [*range(self._turn, len(lines)), *range(self._turn)]
            turn = next(turn for turn in order if lines[turn])
            self._turn = (turn + 1) % len(lines)
            return lines[turn].popleft()

    def clear(self) -> None:
        """Empty the slots; the queue stays."""
        with self.changed:
            for newest in self._slots:
                newest.clear()

    def close(self) -> list[Work]:
        """End every wait, now and later, and return what was left in the queue."""
        with self.changed:
            self.is_closed = True
            self.changed.notify_all()
            left = list(self._queue)
            self._queue.clear()
        return left


class Slot:
    """Where one source leaves its newest work."""

    def __init__(self, inbox: Inbox, newest: deque[Work]) -> None:
        self._inbox = inbox
        self._newest = newest

    def put(self, work: Work) -> bool:
        """Leave work; True when older work that nobody had taken was dropped for it."""
        with self._inbox.changed:
            if self._inbox.is_closed:
                return False
            dropped = bool(self._newest)
            self._newest.append(work)
            self._inbox.changed.notify()
            return dropped

    @property
    def is_closed(self) -> bool:
        """Whether the model was told to end, or was given up."""
        return self._inbox.is_closed


class Job:
    """A function of the session whose result somebody waits for."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._function = function
        self._arguments = arguments
        self.answer: Future = Future()

    def run(self, session: Segmenter) -> None:
        """Call the function, unless nobody waits any more."""
        if not self.answer.set_running_or_notify_cancel():
            return
        try:
            self.answer.set_result(self._function(session, *self._arguments))
        except Exception as error:  # for whoever waits
            self.answer.set_exception(error)


class Worker:
    """Loads a session, then works with it, all in one thread."""

    def __init__(self, load: Callable[[], Segmenter]) -> None:
        self._inbox = Inbox()
        self._loaded: Future = Future()
        self._began: float | None = time.monotonic()
        # A daemon: work that never ends must not keep the process from ending.
        self._thread = threading.Thread(
            target=self._work, args=(load,), name=MODEL_THREAD, daemon=True
        )
        self._thread.start()

    def session(self) -> Segmenter:
        """Wait until the session is loaded. Raises what loading it raised, or CancelledError."""
        return self._loaded.result()

    def slot(self) -> Slot:
        """Add a slot for a source of work."""
        return self._inbox.slot()

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Future:
        """Have ``function(session, *arguments)`` called.

        Returns what it returns or raises; cancelled when the worker is stopped first.
        """
        job = Job(function, arguments)
        if not self._inbox.queue(job):
            job.answer.cancel()
        return job.answer

    def clear(self) -> None:
        """Forget what lies in the slots."""
        self._inbox.clear()

    @property
    def is_loaded(self) -> bool:
        """Whether loading has ended, one way or another."""
        return self._loaded.done()

    @property
    def busy_seconds(self) -> float:
        """How long loading or the work in progress has taken so far; 0 when there is none."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    @property
    def is_alive(self) -> bool:
        """False once the thread has ended and the model is free."""
        return self._thread.is_alive()

    def stop(self, patience: float | None = None) -> bool:
        """Finish the work in progress, free the model and end the thread.

        Returns False when that takes more than ``patience`` seconds; it happens whenever the work
        ends.
        """
        for work in self._inbox.close():
            if isinstance(work, Job):
                work.answer.cancel()
        self._loaded.cancel()
        self._thread.join(patience)
        return not self.is_alive

    def _work(self, load: Callable[[], Segmenter]) -> None:
        try:
            session = load()
        except Exception as error:  # for whoever waits in session()
            with contextlib.suppress(InvalidStateError):
                self._loaded.set_exception(error)
            return
        with contextlib.closing(session):
            self._began = None
            with contextlib.suppress(InvalidStateError):  # stopped meanwhile: the inbox is closed
                self._loaded.set_result(session)
            while (work := self._inbox.take()) is not None:
                self._began = time.monotonic()
                work.run(session)
                self._began = None

"""The thread that owns the model. Knows nothing of ROS."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any

MODEL_THREAD = "model"


class Inbox:
    """Between producers that never wait and one consumer, who takes from all of them in turn.

    Each of ``sources`` has room for its newest item, and there is a queue that keeps everything.
    """

    def __init__(self, sources: int) -> None:
        self._places: list[deque] = [*(deque(maxlen=1) for _ in range(sources)), deque()]
        self._turn = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, source: int, item: Any) -> bool:
        """Leave a source's newest item; True when one that nobody took was thrown away for it."""
        with self._changed:
            place = self._places[source]
            replaced = len(place) == place.maxlen
            place.append(item)
            self._changed.notify()
        return replaced

    def queue(self, item: Any) -> bool:
        """Leave an item that no other replaces; False when the inbox is closed."""
        with self._changed:
            if not self._closed:
                self._places[-1].append(item)
                self._changed.notify()
            return not self._closed

    def take(self) -> Any | None:
        """Wait for an item; None once the inbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(self._places))
            if self._closed:
                return None
            count = len(self._places)
            turns = (turn % count for turn in range(self._turn, self._turn + count))
            turn = next(turn for turn in turns if self._places[turn])
            self._turn = turn + 1
            return self._places[turn].popleft()

    def clear(self) -> None:
        """Throw the sources' items away; the queue stays."""
        with self._changed:
            for place in self._places[:-1]:
                place.clear()

    def close(self) -> list:
        """End every wait, now and later; what was left in the queue."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            left = list(self._places[-1])
            self._places[-1].clear()
        return left


class Job:
    """A piece of work that somebody waits for."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work
        self.answer: Future = Future()

    def __call__(self, session: Any) -> None:
        """Do it, unless nobody waits any more."""
        if not self.answer.set_running_or_notify_cancel():
            return
        try:
            self.answer.set_result(self._work(session))
        except Exception as error:  # for whoever waits
            self.answer.set_exception(error)


class Worker:
    """Loads a session, then works with it, all in one thread.

    ``load()`` returns an object with ``close()``. Work is a function of it.
    """

    def __init__(self, load: Callable, sources: int = 1) -> None:
        self._inbox = Inbox(sources)
        self._loaded: Future = Future()
        self._began: float | None = None
        # A daemon: work that never ends must not keep the process from ending.
        self._thread = threading.Thread(
            target=self._run, args=(load,), name=MODEL_THREAD, daemon=True
        )
        self._thread.start()

    def session(self) -> Any:
        """The session, once it is loaded. Raises what loading it raised, or CancelledError."""
        return self._loaded.result()

    def offer(self, source: int, work: Callable[[Any], None]) -> bool:
        """Replace what a source offered last; True when that was not begun yet.

        ``work`` must not raise.
        """
        return self._inbox.put(source, work)

    def ask(self, work: Callable[[Any], Any]) -> Future:
        """What ``work`` returns or raises; cancelled when the worker is stopped first."""
        job = Job(work)
        if not self._inbox.queue(job):
            job.answer.cancel()
        return job.answer

    def clear(self) -> None:
        """Forget what was offered and not begun."""
        self._inbox.clear()

    @property
    def busy_seconds(self) -> float:
        """How long the work in progress has taken so far; 0 when there is none."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    @property
    def is_alive(self) -> bool:
        """False once the thread has ended and the model is free."""
        return self._thread.is_alive()

    def stop(self, patience: float | None = None) -> bool:
        """Finish the work in progress, free the model and end the thread.

        False when that takes more than ``patience`` seconds; it happens whenever the work ends.
        """
        for job in self._inbox.close():
            job.answer.cancel()
        self._loaded.cancel()
        self._thread.join(patience)
        return not self.is_alive

    def _run(self, load: Callable) -> None:
        try:
            session = load()
        except Exception as error:  # for whoever waits in session()
            with contextlib.suppress(InvalidStateError):
                self._loaded.set_exception(error)
            return
        with contextlib.closing(session):
            with contextlib.suppress(InvalidStateError):  # stopped meanwhile: the inbox is closed
                self._loaded.set_result(session)
            while (work := self._inbox.take()) is not None:
                self._began = time.monotonic()
                work(session)
                self._began = None

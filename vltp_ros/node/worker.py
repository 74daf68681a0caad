"""The thread that owns the model, and one for the rest of its work. Knows nothing of ROS."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any, Protocol

from vltp_ros.node.inference import Segmenter

MODEL_THREAD = "model"
ANSWERS_THREAD = "answers"

Rest = Callable[[], None]
"""What is left of work once the model has done its part; must not raise."""


class Work(Protocol):
    """Something that the model's thread does with the session."""

    def run(self, session: Segmenter) -> Rest | None:
        """Do it; must not raise. Returns what can be done while a GPU has other work."""


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


class Rests:
    """Does the rests of work one after the other, in a thread of its own."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Rest | None] = queue.Queue()
        # A daemon: work that never ends must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name=ANSWERS_THREAD, daemon=True)
        self._thread.start()

    def put(self, rest: Rest) -> None:
        """Leave a rest, once the one before is done: answers do not queue up."""
        self._waiting.join()
        self._waiting.put(rest)

    def close(self) -> None:
        """Wait until all is done, and end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (rest := self._waiting.get()) is not None:
            rest()
            self._waiting.task_done()


class Worker:
    """Loads a session, then works with it in one thread.

    Beside a model on a GPU, another thread does what is left of the work.
    """

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
        with contextlib.closing(session), contextlib.closing(Rests()) as rests:
            self._began = None
            with contextlib.suppress(InvalidStateError):  # stopped meanwhile: the inbox is closed
                self._loaded.set_result(session)
            while (work := self._inbox.take()) is not None:
                self._began = time.monotonic()
                rest = work.run(session)
                if rest is not None and session.gpu_memory_mib is None:
                    rest()  # beside a model on the same cores it would slow both
                elif rest is not None:
                    rests.put(rest)
                self._began = None

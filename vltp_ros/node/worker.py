"""The thread that owns the model. Knows nothing of ROS."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Slot(Generic[Item]):
    """One place between a producer that never waits and a consumer that wants the newest item."""

    def __init__(self) -> None:
        self._item: Item | None = None
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: Item) -> bool:
        """Leave ``item``; True when one that nobody took was thrown away for it."""
        with self._changed:
            replaced, self._item = self._item is not None, item
            self._changed.notify()
        return replaced

    def take(self) -> Item | None:
        """Wait for an item; None once the slot is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._item is not None)
            item, self._item = self._item, None
            return None if self._closed else item

    def clear(self) -> None:
        """Throw away what lies there."""
        with self._changed:
            self._item = None

    def close(self) -> None:
        """End every wait, now and later."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Worker:
    """Loads a session, then hands it each newest item, all in one thread.

    ``load()`` returns an object with ``close()``; ``answer(session, item)`` must not raise.
    """

    def __init__(self, load: Callable, answer: Callable) -> None:
        self.slot: Slot = Slot()
        self._loaded: Future = Future()
        self._thread = threading.Thread(target=self._run, args=(load, answer), name="model")
        self._thread.start()

    def session(self):
        """The session, once it is loaded. Raises what loading it raised."""
        return self._loaded.result()

    def stop(self) -> None:
        """Finish the item in work, free the model and end the thread."""
        self.slot.close()
        self._thread.join()

    def _run(self, load: Callable, answer: Callable) -> None:
        try:
            session = load()
        except Exception as error:  # for whoever waits in session()
            self._loaded.set_exception(error)
            return
        self._loaded.set_result(session)
        with contextlib.closing(session):
            while (item := self.slot.take()) is not None:
                answer(session, item)

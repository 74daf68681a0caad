"""A session in a process of its own, which can be ended whatever the model is doing."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from vltp_ros.runtime.exchange import Exchange, SharedMemory
from vltp_ros.runtime.protocol import Reply, Request, Start, State
from vltp_ros.runtime.settings import InferenceSettings
from vltp_ros.types import Segmentation

END_SECONDS = 5.0  # for the process to free the model


class RemoteSession:
    """A session whose model runs in a process of its own.

    A model that hangs, holds Python's lock or brings its process down takes nothing else along.
    Images and masks go through shared memory, and what a GPU holds stays in the model's process.
    As for a session, one thread asks at a time; any other may :meth:`kill` it.

    Args:
        factory: import path, ``module:name``, of what makes the session there.
    """

    def __init__(self, factory: str = "vltp_ros.runtime.session:Session.load") -> None:
        self._factory = factory
        self._process: subprocess.Popen | None = None
        self._killed = False
        self._lost = ""  # how the process ended before it had answered
        self._state: State | None = None
        self.refusal = lru_cache(64)(self._refusal)
        """Return why a task is refused; empty: it is not. Asked once for each task."""

    def load(self, model_dir: str, **options: Any) -> RemoteSession:
        """Start the process and make the session there, with the factory's arguments.

        Raises:
            ValueError: for what the factory refuses.
            RuntimeError: when the process ends meanwhile, and what else the factory raises.
        """
        own, others = SharedMemory.new(), SharedMemory.new()
        near, far = socket.socketpair()
        descriptors = (far.fileno(), own.descriptor, others.descriptor)
        command = [sys.executable, "-m", "vltp_ros.runtime.server", *map(str, descriptors)]
        self._process = subprocess.Popen(command, pass_fds=descriptors)
        far.close()
        self._exchange = Exchange(Connection(near.detach()), own, others)
        if self._killed:  # before there was anything to kill
            self._process.kill()
        try:
            self._ask(Start(self._factory, (model_dir,), options, sys.path))
        except Exception:
            self.close()
            raise
        return self

    def validate(self, settings: InferenceSettings) -> None:
        """Raise ValueError for settings that the session refuses."""
        self._ask(Request("validate", (settings,)))

    def configure(self, settings: InferenceSettings) -> None:
        """Use other settings from the next image on; raises ValueError."""
        self._ask(Request("configure", (settings,)))

    def warm_up(self) -> None:
        """Segment blank images."""
        self._ask(Request("warm_up", ()))

    def segment(
        self,
        image: np.ndarray,
        tasks: Sequence[str],
        *,
        stamp: float | None = None,
        stream: str = "",
    ) -> list[Segmentation]:
        """Segment what can be used for each task, as Session.segment does.

        Raises:
            RuntimeError: when the process has ended, and what else Session.segment raises.
        """
        # Contiguous, it goes through the shared memory; anything else would be copied once more.
        arguments = (np.ascontiguousarray(image), list(tasks))
        return self._ask(Request("segment", arguments, {"stamp": stamp, "stream": stream}))

    def close(self) -> None:
        """End the process, once it has freed the model, or else at once."""
        process, self._process = self._process, None
        if process is None:
            return
        self._exchange.close()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End the process at once, whatever it does; from any thread."""
        self._killed = True
        process = self._process
        if process is not None:
            process.kill()

    @property
    def fault(self) -> str:
        """Why the process or its device cannot be used any more; empty: they can."""
        process = self._process
        status = None if process is None else process.poll()
        if self._lost or status is not None:
            return self._lost or _words(status)
        return "" if self._state is None else self._state.fault

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._loaded.name

    @property
    def device_name(self) -> str:
        """Device and precision in words."""
        return self._loaded.device_name

    @property
    def gpu_memory_mib(self) -> float | None:
        """GPU memory that the model's process holds, MiB; None on a CPU."""
        return self._loaded.gpu_memory_mib

    @property
    def missed_deadlines(self) -> int:
        """How many images took longer than ``max_latency_ms``."""
        return self._loaded.missed_deadlines

    @property
    def late_captures(self) -> int:
        """How often something was compiled while an image waited."""
        return self._loaded.late_captures

    @property
    def _loaded(self) -> State:
        if self._state is None:
            raise RuntimeError("the model is not loaded")
        return self._state

    def _refusal(self, task: str) -> str:
        return self._ask(Request("refusal", (task,)))

    def _ask(self, request: Start | Request) -> Any:
        """Return what the other process answers, or raise what it raised."""
        reply: Reply
        try:
            self._exchange.send(request)
            reply = self._exchange.receive(copy=True)
        except (EOFError, OSError) as error:
            if self._process is None:
                raise RuntimeError("the session is closed") from error
            self._process.kill()  # where it closed the connection and goes on
            self._lost = _words(self._process.wait())
            raise RuntimeError(self._lost) from error
        if reply.state is not None:
            self._state = reply.state
        if reply.error is not None:
            raise reply.error
        return reply.value


def _words(status: int | None) -> str:
    """Say how the process ended, by its exit status."""
    if status is not None and status < 0:
        return f"the model's process was ended by {signal.Signals(-status).name}"
    return f"the model's process ended with status {status}"

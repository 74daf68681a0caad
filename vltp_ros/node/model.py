"""The model in its thread, and the watch over it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol

from vltp_ros.msg import Task
from vltp_ros.network.config import AutoQuantization
from vltp_ros.node.config import NodeConfig
from vltp_ros.node.diagnostics import Health
from vltp_ros.node.inference import Frame, Inference, Segmenter, infer
from vltp_ros.node.parameters import Parameters
from vltp_ros.node.worker import Slot, Worker
from vltp_ros.paths import default_model
from vltp_ros.runtime.settings import InferenceSettings, Precision


class Load(Protocol):
    """What makes a session."""

    def __call__(
        self,
        model_dir: str,
        *,
        device: str,
        threads: int,
        quantization: AutoQuantization | None,
        precision: Precision,
    ) -> Segmenter:
        """Load a model directory, as Session.load does; raises ValueError."""


def load_session(model_dir: str, **options: Any) -> Segmenter:
    """Load a session that runs the model, as :class:`Load` says.

    Not before that are PyTorch and transformers imported, in the model's thread: it takes seconds,
    in which the node already answers.
    """
    from vltp_ros.runtime.session import Session

    return Session.load(model_dir, **options)


class NoModelError(RuntimeError):
    """There is no session."""


class Model:
    """Holds a session from :meth:`start` to :meth:`stop`, unless it is stuck and given up.

    What is stuck in the model's thread cannot be ended from outside: the thread is left to itself,
    and frees the model should its work end after all.
    """

    def __init__(self, load: Load, parameters: Parameters[NodeConfig], health: Health) -> None:
        self._load = load
        self._parameters = parameters
        self._health = health
        self._lock = threading.Lock()  # for those that replace the worker
        self._worker: Worker | None = None
        self._session: Segmenter | None = None  # once it is loaded and warm
        self.given_up = ""
        """Why the session was given up since :meth:`start` or :meth:`stop`; empty: it was not."""
        self._abandoned: list[Worker] = []

    def start(self) -> None:
        """Load the session and warm it up.

        Raises:
            RuntimeError: while one that was given up still runs.
            CancelledError: when it is stopped meanwhile.
            ValueError: for a model or a setting that is refused, and what else loading it raises.
        """
        if any(worker.is_alive for worker in self._abandoned):
            raise RuntimeError(
                "the model that was given up still runs; end the process if it never ends"
            )
        self.given_up = ""
        config = self._parameters.config
        worker = self._worker = Worker(Loading(self._load, config, self._health))
        self._session = worker.session()
        if self._parameters.config != config:  # changed while it was loaded
            self.configure(self._parameters.config)
        self._health.model, self._health.device = self._session.name, self._session.device_name

    def stop(self, patience: float | None = None) -> None:
        """Free the session. One that is still at work after ``patience`` seconds is abandoned.

        None: after ``watchdog`` seconds.
        """
        worker = self._release()
        self.given_up = ""
        if patience is None:
            patience = self._parameters.config.watchdog or None
        if worker is not None and not worker.stop(patience):
            self._abandoned.append(worker)

    @property
    def is_loaded(self) -> bool:
        """Whether there is a session."""
        return self._worker is not None and self._session is not None

    @property
    def gpu_memory_mib(self) -> float | None:
        """MiB of GPU memory that the process holds; None on a CPU or without a session."""
        session = self._session
        return session.gpu_memory_mib if session is not None else None

    @property
    def late_captures(self) -> int:
        """How often something was compiled while an image waited."""
        session = self._session
        return session.late_captures if session is not None else 0

    def slot(self) -> Slot:
        """Return room for the newest image of a camera. Raises NoModelError without a session."""
        return self._working().slot()

    def clear(self) -> None:
        """Forget the images that wait in the slots."""
        if self._worker is not None:
            self._worker.clear()

    def configure(self, config: NodeConfig) -> None:
        """Change settings between two images.

        Raises:
            ValueError: for settings that the model does not have.
            NoModelError: when there is no session.
            CancelledError: when it is stopped first.
        """
        self._working().ask(_configure, config.inference).result()

    def infer(self, frame: Frame, tasks: tuple[Task, ...]) -> Inference:
        """Wait for the answer about one image.

        Raises:
            NoModelError: when there is no session.
            CancelledError: when it is stopped first.
            ValueError: for an image or a task that is refused.
        """
        return self._working().ask(infer, frame, tasks).result()

    def _working(self) -> Worker:
        worker = self._worker
        if worker is None or self._session is None:
            raise NoModelError(f"the node is {self._health.state}; it has no model")
        return worker

    def _release(self) -> Worker | None:
        """Return the worker to whoever asks first, and let nobody else work with it."""
        with self._lock:
            worker, self._worker, self._session = self._worker, None, None
        return worker

    # --- the watch over it -------------------------------------------------------------------

    def give_up_if_unusable(self) -> None:
        """Give the session up when its work is stuck, or its device lost for good."""
        worker, session, limit = self._worker, self._session, self._parameters.config.watchdog
        if worker is None:
            return
        reason = session.fault if session is not None else ""
        if is_stuck := 0 < limit < (seconds := worker.busy_seconds):
            reason = f"an inference was stuck for {seconds:.1f} s, watchdog allows {limit:g} s"
        if reason and self._release() is not None:  # or it is being stopped, with the same patience
            worker.stop(patience=0.0)
            if is_stuck:  # what has lost its device does not come back
                self._abandoned.append(worker)
            self.given_up = f"{reason}; the model is given up"

    def has_come_back(self) -> bool:
        """Say once that the work of all sessions that were given up has ended after all."""
        ended = bool(self._abandoned) and not any(worker.is_alive for worker in self._abandoned)
        if ended:
            self._abandoned.clear()
        return ended


@dataclass(frozen=True)
class Loading:
    """The first work of the model's thread."""

    load: Load
    config: NodeConfig
    health: Health

    def __call__(self) -> Segmenter:
        """Load, configure and warm up; reports progress."""
        began, config = time.monotonic(), self.config
        directory = config.model or str(default_model())
        self.health.report(f"loading {directory}")
        session = self.load(
            directory,
            device=config.device,
            threads=config.threads,
            quantization=config.given_quantization,
            precision=config.precision,
        )
        session.configure(config.inference)
        self.health.report(f"warming up {session.name} on {session.device_name}")
        session.warm_up()
        self.health.report(f"ready after {time.monotonic() - began:.1f} s")
        return session


def _configure(session: Segmenter, settings: InferenceSettings) -> None:
    session.configure(settings)

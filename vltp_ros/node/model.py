"""The model in its thread, and the watch over it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Protocol

from vltp_ros.msg import Task
from vltp_ros.network.config import AutoQuantization
from vltp_ros.node.config import NodeConfig
from vltp_ros.node.diagnostics import Health, ModelCounts
from vltp_ros.node.inference import Frame, Inference, Segmenter, infer
from vltp_ros.node.parameters import Parameters
from vltp_ros.node.retries import Retries
from vltp_ros.node.worker import Slot, Worker
from vltp_ros.paths import default_model
from vltp_ros.runtime.caveat import caveat_of
from vltp_ros.runtime.remote import RemoteSession
from vltp_ros.runtime.settings import InferenceSettings, Precision

SESSION = "vltp_ros.runtime.session:Session.load"
END_SECONDS = 2.0  # for a thread to notice that the model's process was killed


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


class NoModelError(RuntimeError):
    """There is no session."""


class Model:
    """Holds a session from :meth:`start` to :meth:`stop`, unless it is stuck and given up.

    By default the session's model runs in a process of its own, which is killed when it is given
    up. What is stuck in a thread of this process cannot be ended from outside: it is left to
    itself, and frees the model should its work end after all.

    Args:
        load: makes a session: the import path, ``module:name``, of a :class:`Load`, which is called
            in the model's process, or here where the parameter ``model_process`` is false; or a
            Load itself, which is called here.
        parameters: of the node.
        health: is told how far loading is.
    """

    def __init__(
        self, load: Load | str, parameters: Parameters[NodeConfig], health: Health
    ) -> None:
        self._load = load
        self._parameters = parameters
        self._health = health
        self._lock = threading.Lock()  # for those that replace the worker
        self._worker: Worker | None = None
        self._remote: RemoteSession | None = None  # of the worker, where it has a process
        self._session: Segmenter | None = None  # once it is loaded and warm
        self._configuring = threading.Lock()  # the last one to wait has the newest parameters
        self._settings = InferenceSettings()  # of the session
        self.given_up = ""
        """Why the session was given up since :meth:`start` or :meth:`stop`; empty: it was not."""
        self._abandoned: list[Worker] = []
        self._retries = Retries()

    def start(self) -> None:
        """Load the session and warm it up.

        Raises:
            RuntimeError: while one that was given up still runs.
            CancelledError: when it is stopped meanwhile, or given up as ``load_timeout`` is over.
            ValueError: for a model or a setting that is refused, and what else loading it raises.
        """
        if self.is_abandoned:
            raise RuntimeError(
                "the model that was given up still runs; end the process if it never ends"
            )
        self.given_up = ""
        config = self._parameters.config
        load, self._remote = _loader(self._load, config)
        worker = self._worker = Worker(Loading(load, config, self._health))
        try:
            session = worker.session()
        except RuntimeError:
            if self._remote is not None and self._remote.fault:  # it may not happen again
                self._abandon(worker)
            raise
        self._retries.loaded()
        self._settings, self._session = config.inference, session
        self.configure()  # changed while it was loaded
        self._health.model, self._health.device = session.name, session.device_name

    def stop(self, patience: float | None = None) -> bool:
        """Free the session. One still at work after ``patience`` seconds is killed, or abandoned.

        None: after ``watchdog`` seconds. Returns False when it was.
        """
        remote, worker = self._remote, self._release()
        self.given_up = ""
        if patience is None:
            patience = self._parameters.config.watchdog or None
        if worker is None or worker.stop(patience):
            return True
        if not _killed(remote, worker):
            self._abandoned.append(worker)
        return False

    @property
    def is_loaded(self) -> bool:
        """Whether there is a session."""
        return self._worker is not None and self._session is not None

    @property
    def is_abandoned(self) -> bool:
        """Whether a session that nothing could end is still at work."""
        return any(worker.is_alive for worker in self._abandoned)

    @property
    def counts(self) -> ModelCounts:
        """What is counted of the model."""
        session, restarts = self._session, self._retries.count
        if session is None:
            return ModelCounts(restarts=restarts)
        return ModelCounts(session.gpu_memory_mib, session.late_captures, restarts)

    def slot(self) -> Slot:
        """Return room for the newest image of a camera. Raises NoModelError without a session."""
        return self._working().slot()

    def clear(self) -> None:
        """Forget the images that wait in the slots."""
        if self._worker is not None:
            self._worker.clear()

    def validate(self, config: NodeConfig) -> None:
        """Ask, between two images, whether the session accepts settings; changes nothing.

        Raises:
            ValueError: for settings that the model does not have.
            NoModelError: when there is no session.
            CancelledError: when it is stopped first.
        """
        self._working().ask(_validate, config.inference).result()

    def configure(self) -> None:
        """Give the session, if there is one, the settings of the parameters as they are now.

        Raises:
            ValueError: for settings that the model does not have.
            CancelledError: when it is stopped first.
        """
        with self._configuring:
            settings = self._parameters.config.inference
            if self.is_loaded and settings != self._settings:
                self._working().ask(_configure, settings).result()
                self._settings = settings

    def infer(self, frame: Frame, tasks: tuple[Task, ...]) -> Inference:
        """Wait for the answer about one image.

        Raises:
            NoModelError: when there is no session.
            CancelledError: when it is stopped first.
            ValueError: for an image or a task that is refused.
        """
        inference = self._working().ask(infer, frame, tasks).result()
        self._health.doubt(inference.results)
        return inference

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
        """Give the session up when its work is stuck, or its process or device lost for good."""
        worker, session, remote = self._worker, self._session, self._remote
        if worker is None:
            return
        reason = session.fault if session is not None else ""
        is_stuck = bool(stuck := _stuck(worker, self._parameters.config))
        reason = stuck or reason
        if not reason or self._release() is None:  # or it is being stopped, with the same patience
            return
        self.given_up = f"{reason}; the model is given up"
        worker.stop(patience=0.0)
        # A device that this process has lost does not come back to it.
        if _killed(remote, worker) or is_stuck:
            self._abandon(worker)

    def _abandon(self, worker: Worker) -> None:
        """Leave a worker to itself, and try with another one after a pause."""
        self._abandoned.append(worker)
        self._retries.given_up()

    def has_come_back(self) -> bool:
        """Say once that all sessions that were given up have ended, and it is time to try again."""
        ended = bool(self._abandoned) and not self.is_abandoned
        if ended := ended and self._retries.is_due:
            self._abandoned.clear()
        return ended


def _loader(load: Load | str, config: NodeConfig) -> tuple[Load, RemoteSession | None]:
    """Return what loads the session in the model's thread, and its process where it gets one."""
    if not isinstance(load, str):
        return load, None
    if config.model_process:
        remote = RemoteSession(load)
        return remote.load, remote
    # What it needs takes seconds to import, in which the node already answers.
    return lambda *args, **options: resolve_name(load)(*args, **options), None


def _killed(remote: RemoteSession | None, worker: Worker) -> bool:
    """Kill the model's process; False where it has none."""
    if remote is None:
        return False
    remote.kill()
    return worker.stop(END_SECONDS)


def _stuck(worker: Worker, config: NodeConfig) -> str:
    """Return what has taken the model too long; empty: nothing has."""
    limit = config.watchdog if worker.is_loaded else config.load_timeout
    seconds = worker.busy_seconds
    if not 0 < limit < seconds:
        return ""
    if worker.is_loaded:
        return f"an inference was stuck for {seconds:.1f} s, watchdog allows {limit:g} s"
    return f"loading the model has taken {seconds:.1f} s, load_timeout allows {limit:g} s"


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
        if caveat := caveat_of(directory):
            self.health.report(caveat)
        self.health.report(f"loading {directory}")
        session = self.load(
            directory,
            device=config.device,
            threads=config.threads,
            quantization=config.given_quantization,
            precision=config.precision,
        )
        try:
            session.configure(config.inference)
            self.health.report(f"warming up {session.name} on {session.device_name}")
            session.warm_up()
        except Exception:
            session.close()
            raise
        self.health.report(f"ready after {time.monotonic() - began:.1f} s")
        return session


def _validate(session: Segmenter, settings: InferenceSettings) -> None:
    session.validate(settings)


def _configure(session: Segmenter, settings: InferenceSettings) -> None:
    session.configure(settings)

"""The model in its thread, with the settings that the node's parameters ask for."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from vltp_ros.msg import Task
from vltp_ros.node.config import NodeConfig
from vltp_ros.node.inference import Frame, Inference, infer
from vltp_ros.node.worker import Worker
from vltp_ros.paths import default_model
from vltp_ros.runtime.memory import gpu_memory_mib
from vltp_ros.runtime.session import Session


class Model:
    """Begins to load at once; :meth:`wait` before anything else is asked of it.

    Args:
        load: makes a session as Session.load does.
        config: which model, where, and its settings.
        sources: how many cameras offer images.
        report: is told what is being done.
    """

    def __init__(
        self,
        load: Callable[..., Session],
        config: NodeConfig,
        sources: int,
        report: Callable[[str], None],
    ) -> None:
        self._load = load
        self._report = report
        self._config = config
        self.session: Session | None = None  # once it is loaded
        self.worker = Worker(self._load_session, sources)

    def wait(self) -> None:
        """Until the model is loaded and warm; raises what that raised, or CancelledError."""
        self.session = self.worker.session()
        self.name, self.device_name = self.session.name, self.session.device_name

    def configure(self, config: NodeConfig) -> None:
        """Change settings between two images; raises the session's ValueError, CancelledError."""
        settings = config.inference
        self.worker.ask(lambda session: session.configure(settings)).result()
        self._config = config

    @property
    def config(self) -> NodeConfig:
        """Whose settings it has."""
        return self._config

    def infer(self, frame: Frame, tasks: tuple[Task, ...], pixels: Callable) -> Inference:
        """Wait for the answer about one image.

        Raises CancelledError when the model is freed first, or what
        :func:`vltp_ros.node.inference.infer` raises.
        """
        ask = functools.partial(infer, frame=frame, tasks=tasks, pixels=pixels)
        return self.worker.ask(ask).result()

    def gpu_memory_mib(self) -> float | None:
        """MiB of GPU memory that it holds; None on a CPU."""
        return gpu_memory_mib(self.session.device)

    def _load_session(self) -> Session:
        """In the worker's thread."""
        began, config = time.monotonic(), self._config
        directory = config.model or default_model()
        self._report(f"loading {directory}")
        session = self._load(
            directory,
            device=config.device,
            threads=config.threads,
            quantization=config.given_quantization,
        )
        session.configure(config.inference)
        self._report(f"warming up {session.name} on {session.device_name}")
        session.warm_up()
        self._report(f"ready after {time.monotonic() - began:.1f} s")
        return session

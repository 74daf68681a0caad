"""A session that does on request what no session should: imported in the model's process."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

import numpy as np

from vltp_ros.network.config import ModelConfig, PruningConfig
from vltp_ros.runtime.checks import NotFiniteError
from vltp_ros.runtime.settings import InferenceSettings
from vltp_ros.types import Segmentation

CONFIG = ModelConfig(pruning=PruningConfig((1, 2), (0.5, 0.5)))


class UnknownError(Exception):
    """An error of a class that the other process does not have."""


class FaultySession:
    """Masks the pixels whose red is above 127, unless the task is the name of a fault."""

    device_name, gpu_memory_mib, late_captures = "no device", 1.5, 0

    def __init__(self) -> None:
        self.name, self.fault, self.missed_deadlines = f"process {os.getpid()}", "", 0
        self.configure(InferenceSettings())

    @classmethod
    def load(cls, model_dir, **options) -> FaultySession:
        """Load, or fail as the last part of the directory's name says; a fault of a file once."""
        session, fault = cls(), Path(model_dir).name
        if Path(model_dir).is_file():
            fault = Path(model_dir).read_text()
            Path(model_dir).unlink()
        session._do(fault)
        session.warm_up_fault = "not golden any more" if fault == "not golden" else ""
        return session

    def validate(self, settings) -> None:
        settings.for_model(CONFIG)

    def configure(self, settings) -> None:
        self.settings = settings.for_model(CONFIG)

    def warm_up(self) -> None:
        """Fail as a model does whose golden answer is another, if its directory is named so."""
        if self.warm_up_fault:
            raise RuntimeError(self.warm_up_fault)

    def refusal(self, task: str) -> str:
        return "task is refused on request" if "refuse" in task else ""

    def segment(self, image, tasks, *, stamp=None, stream="") -> list[Segmentation]:
        for task in tasks:
            self._do(task)
        self.missed_deadlines += 1
        rest = {"kept": (np.eye(4, dtype=bool),), "times_ms": {"encode": 1.0}, "tokens": (4,)}
        rest |= {"seg_age_s": stamp or 0.0, "rates": self.settings.rates}
        return [Segmentation.certain(task, image[..., 0] > 127, 0.5, **rest) for task in tasks]

    def close(self) -> None: ...

    def _do(self, fault: str) -> None:
        if fault == "hang":
            time.sleep(1000)
        elif fault == "hold the lock":
            ctypes.PyDLL(None).sleep(1000)  # PyDLL, unlike CDLL, keeps Python's lock
        elif fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif fault == "exit":
            os._exit(3)
        elif fault == "not finite":
            raise NotFiniteError("NaN on request")
        elif fault == "refused":
            raise ValueError("refused on request")
        elif fault == "unknown error":
            raise UnknownError("never heard of")
        elif fault == "lost device":
            self.fault = "no device is lost"
            raise RuntimeError("lost on request")

"""A session whose answers a test can predict; run as a script, the node with it."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

import numpy as np

from vltp_ros.network.config import ModelConfig, PruningConfig
from vltp_ros.runtime.settings import InferenceSettings
from vltp_ros.types import Segmentation

CONFIG = ModelConfig(pruning=PruningConfig((1, 2), (0.5, 0.5)))
KEPT = (np.eye(4, dtype=bool), np.tri(4, dtype=bool))


class FakeSession:
    """Masks the pixels whose red is above 127; whose green is, for a task that says green."""

    name, device_name = "fake", "no device"
    gpu_memory_mib, fault, late_captures, missed_deadlines = None, "", 0, 0
    open = 0  # sessions loaded and not closed
    released = threading.Event()  # lets go of who hangs

    @classmethod
    def load(cls, model_dir, **options) -> FakeSession:
        FakeSession.open += 1
        return cls()

    def warm_up(self) -> None: ...

    def refusal(self, task: str) -> str:
        return "task is refused on request" if "refuse" in task else ""

    def validate(self, settings: InferenceSettings) -> None:
        settings.for_model(CONFIG)

    def configure(self, settings: InferenceSettings) -> None:
        self.settings = settings.for_model(CONFIG)

    def segment(
        self, image: np.ndarray, tasks: list[str], stamp=None, stream=""
    ) -> list[Segmentation]:
        """As if <SEG> were that of a second ago, in a stream that reuses it."""
        age = float(stamp is not None and self.settings.reuse.max_age >= 1)
        if "break" in tasks:
            raise RuntimeError("broken on request")
        if tasks == ["hang"]:
            self.released.wait()
        masks = [image[..., int("green" in task)] > 127 for task in tasks]
        return [self._answer(mask, task, age) for mask, task in zip(masks, tasks, strict=True)]

    @staticmethod
    def _answer(mask: np.ndarray, task: str, age: float) -> Segmentation:
        rest = {"kept": KEPT, "times_ms": {"encode": 1.0}, "tokens": (4, 10), "seg_age_s": age}
        # Of each pixel the probability is a half too, as the score says.
        return replace(Segmentation.certain(task, mask, 0.5, **rest), levels=mask * np.uint8(128))

    def close(self) -> None:
        FakeSession.open -= 1


if __name__ == "__main__":
    from vltp_ros.node.node import main

    sys.exit(main("fake_session:FakeSession.load"))

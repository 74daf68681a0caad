"""The node with a model that takes no time: whatever it still uses is everything but the model."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from vltp_ros.node import node
from vltp_ros.runtime.settings import InferenceSettings
from vltp_ros.types import Segmentation


class NoModel:
    """Stands in for a Session; masks two parts of every image."""

    name, device_name = "none", "none"
    gpu_memory_mib: float | None = None
    fault, late_captures, missed_deadlines = "", 0, 0

    @classmethod
    def load(cls, model_dir: str, **options: object) -> NoModel:
        """Load nothing."""
        return cls()

    def validate(self, settings: InferenceSettings) -> None:
        """Refuse no settings."""

    def configure(self, settings: InferenceSettings) -> None:
        """Take any settings."""

    def warm_up(self) -> None:
        """Do nothing; always warm."""

    def refusal(self, task: str) -> str:
        """Refuse no task."""
        return ""

    def close(self) -> None:
        """Do nothing; there is nothing to free."""

    def segment(
        self,
        image: np.ndarray,
        tasks: Sequence[str],
        *,
        stamp: float | None = None,
        stream: str = "",
    ) -> list[Segmentation]:
        """Mask two parts of the image, a sixteenth of it each, as Session.segment would."""
        rows, columns = image.shape[:2]
        mask = np.zeros((rows, columns), bool)
        mask[rows // 4 : rows // 2, columns // 4 : columns // 2] = True
        mask[rows // 2 : 3 * rows // 4, columns // 2 + 1 : 3 * columns // 4 + 1] = True
        kept = (np.ones((4, 4), bool),)
        return [Segmentation.certain(task, mask, kept=kept, tokens=(16,)) for task in tasks]


def main() -> int:
    """Run the node until SIGINT or SIGTERM; return the exit status."""
    return node.main("vltp_ros.rig.stub:NoModel.load")


if __name__ == "__main__":
    sys.exit(main())

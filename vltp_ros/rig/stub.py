"""The node with a model that takes no time: whatever it still uses is everything but the model."""

from __future__ import annotations

import sys

import numpy as np

from vltp_ros.node.node import THREADS, VltpNode
from vltp_ros.node.process import run
from vltp_ros.runtime.device import resolve_device
from vltp_ros.types import Segmentation


class NoModel:
    """Stands in for a Session; masks the middle of every image."""

    name, device_name, device = "none", "none", resolve_device("cpu")
    threshold, selector = 0.5, "none"

    @classmethod
    def load(cls, model_dir: str, **settings: object) -> NoModel:
        """Loads nothing."""
        return cls()

    def configure(self, **settings: object) -> None:
        """Every setting is fine."""

    def warm_up(self) -> None:
        """Always warm."""

    def close(self) -> None:
        """Nothing to free."""

    def segment(self, image: np.ndarray, tasks: list[str], **video: object) -> list[Segmentation]:
        """As Session.segment."""
        rows, columns = image.shape[:2]
        mask = np.zeros((rows, columns), bool)
        mask[rows // 4 : rows // 2, columns // 4 : columns // 2] = True
        probability = mask.astype(np.float32)
        kept = (np.ones((4, 4), bool),)
        return [Segmentation(task, mask, probability, 1.0, kept, {}, (16,)) for task in tasks]


def main() -> int:
    """Run the node until SIGINT or SIGTERM; the exit status."""
    return run(lambda: VltpNode(NoModel.load), start=VltpNode.autostart, threads=THREADS)


if __name__ == "__main__":
    sys.exit(main())

"""<SEG> embeddings that serve for more than one image of a stream."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from torch import Tensor

from vltp_ros.config import ReuseConfig

CELLS = 16
"""Rows and columns of the grid on which images are compared."""


@dataclass(frozen=True)
class Thought:
    """What LLaVA made of one task on one image."""

    seg: Tensor  # [1, 1, 256]
    attention: Tensor | None  # [1, g, g]
    stamp: float | None  # of the image, seconds; None: it is not part of a stream
    cells: np.ndarray | None  # float32 [CELLS, CELLS]: brightness of the image, 0..1


class SegMemory:
    """What LLaVA thought of the last image of each stream, by task."""

    def __init__(self, config: ReuseConfig) -> None:
        self.config = config
        self._streams: dict[str, dict[str, Thought]] = {}

    def look(self, image: np.ndarray, stamp: float | None) -> np.ndarray | None:
        """Brightness of uint8 [H, W, 3] by cells; None where it will not be asked for."""
        if stamp is None or not self.config.max_age:
            return None
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        return (
            cv2.resize(grey, (CELLS, CELLS), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        )

    def recall(
        self, stream: str, task: str, stamp: float | None, cells: np.ndarray | None
    ) -> Thought | None:
        """The thought that still serves, if there is one; an older image never uses a newer one."""
        thought = self._streams.get(stream, {}).get(task)
        if thought is None or stamp is None or cells is None:
            return None
        recent = 0 <= stamp - thought.stamp <= self.config.max_age
        alike = np.abs(cells - thought.cells).max() <= self.config.max_change
        return thought if recent and alike else None

    def keep(self, stream: str, thoughts: dict[str, Thought]) -> None:
        """Remember the thoughts by task, and nothing else of that stream."""
        self._streams[stream] = {t: some for t, some in thoughts.items() if some.cells is not None}

"""Reuse of <SEG> embeddings for more than one image of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vltp_ros.settings import check, documented, setting

if TYPE_CHECKING:
    from torch import Tensor


@documented
@dataclass(frozen=True)
class ReuseConfig:
    """When a <SEG> embedding serves for a later image of the same stream and task.

    The change of an image is that of its brightness, averaged over each cell of a 16 x 16 grid: the
    largest change of a cell, as a share of the whole scale. An object that comes in changes a few
    cells by much; noise and a flicker change all of them by little.
    """

    max_age: float = setting(
        0.0, "seconds for which a <SEG> is reused for later images; 0: never", low=0.0, high=3600.0
    )
    max_change: float = setting(
        0.1,
        "change of the image up to which a <SEG> is reused, share of the whole scale",
        low=0.0,
        high=1.0,
    )

    def __post_init__(self) -> None:
        check(self)


CELLS = 16
"""Rows and columns of the grid on which images are compared."""


@dataclass(frozen=True)
class View:
    """Time and brightness of an image, by which it is compared with others of its stream."""

    stamp: float  # seconds
    cells: np.ndarray  # float32 [CELLS, CELLS], 0..1


@dataclass(frozen=True)
class CachedSeg:
    """LLaVA's output for one task on one image."""

    seg: Tensor  # [1, 1, 256]
    attention: Tensor | None  # [1, g, g]
    view: View | None  # of the image; None: it serves for no other

    def age(self, view: View | None) -> float:
        """Return the seconds from the embedding's image to that of ``view``."""
        return 0.0 if view is None or self.view is None else view.stamp - self.view.stamp


def view_of(image: np.ndarray, stamp: float) -> View:
    """Return the view of uint8 [H, W, 3] that was taken at ``stamp``, seconds."""
    import cv2  # not before: commands that only print their help know the settings above

    # Cells of whole pixels, the last few left out: others take ten times as long to average.
    height, width = (side // CELLS * CELLS or side for side in image.shape[:2])
    grey = cv2.cvtColor(image[:height, :width], cv2.COLOR_RGB2GRAY)
    cells = cv2.resize(grey, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    return View(stamp, cells.astype(np.float32) / 255)


class SegCache:
    """Keeps the <SEG> embeddings of the last image of each stream, by task."""

    def __init__(self) -> None:
        self._streams: dict[str, dict[str, CachedSeg]] = {}

    def get(
        self, stream: str, task: str, view: View | None, config: ReuseConfig
    ) -> CachedSeg | None:
        """Return the embedding that still serves, if any; none of a newer image does."""
        cached = self._streams.get(stream, {}).get(task)
        if cached is None or cached.view is None or view is None or not config.max_age:
            return None
        recent = 0 <= view.stamp - cached.view.stamp <= config.max_age
        alike = np.abs(view.cells - cached.view.cells).max() <= config.max_change
        return cached if recent and alike else None

    def put(self, stream: str, segs: dict[str, CachedSeg]) -> None:
        """Keep these embeddings by task, and no others of that stream."""
        self._streams[stream] = {task: seg for task, seg in segs.items() if seg.view is not None}

"""One sample type for all data sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sample:
    """An image, a task, and the mask of everything in it that serves the task."""

    image: np.ndarray  # uint8 [H, W, 3] RGB
    text: str
    mask: np.ndarray  # bool [H, W]; all False where nothing serves
    ignored: np.ndarray | None = None  # bool [H, W]: what does not count; None: everything does
    image_id: str = ""  # the data set's own
    task: str = ""  # id or name of what many images are asked for; "" where there is none

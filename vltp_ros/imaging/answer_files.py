"""Files with answers: masks, overlays, and on request probabilities and kept tokens."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from vltp_ros.imaging.images import draw_kept, to_grey
from vltp_ros.imaging.instances import Instance
from vltp_ros.imaging.overlay import draw_overlay
from vltp_ros.imaging.pictures import write_png
from vltp_ros.imaging.sources import Shot, Source
from vltp_ros.types import Segmentation

SLUG = 40  # characters of a task in a file's name


class AnswerFiles:
    """Writes the answers about one source; used as a context.

    A file's name begins with the picture's and the task's, and ends in a digest of the picture's
    whole path, its frame and the task: answers to two questions never have the same name, and those
    to the same question always have. Of a video, the overlays are a video too.

    Args:
        source: that is asked about.
        folder: to write to, made if missing.
        probability: also write each pixel's probability as grey.
        kept: also write how much work each part of the picture got as grey.
    """

    def __init__(self, source: Source, folder: Path, probability: bool, kept: bool) -> None:
        self._source = source
        self._folder = folder
        self._probability, self._kept = probability, kept
        self._videos: dict[Path, Any] = {}
        self._open = ExitStack()

    def __enter__(self) -> AnswerFiles:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *error: object) -> None:
        """Finish the videos; what there is of one that broke off is kept."""
        self._open.close()
        for path in self._videos:
            os.replace(_partial(path), path)

    def write(
        self, shot: Shot, result: Segmentation, instances: Sequence[Instance]
    ) -> dict[str, str]:
        """Write the files of one answer; return their paths as JSON names them."""
        files = {"mask": to_grey(result.mask)}
        if self._probability:
            files["probability"] = result.levels
        if self._kept:
            height, width = result.levels.shape
            files["kept"] = draw_kept(result.kept, (height, width))
        overlay = draw_overlay(shot.pixels, [(result, instances)])
        if not self._source.is_video:
            files["overlay"] = overlay
        paths = {}
        for what, pixels in files.items():
            path = self._path(shot.frame, result.task, f"{what}.png")
            write_png(path, pixels)
            paths[f"{what}_path"] = str(path)
        if self._source.is_video:
            paths["overlay_path"] = str(self._append(shot.rate, result.task, overlay))
        return paths

    def _path(self, frame: int | None, task: str, ending: str) -> Path:
        number = "" if frame is None else f"_{frame:06d}"
        words = re.sub(r"[^a-z0-9]+", "-", task.lower())[:SLUG].strip("-")
        question = f"{Path(self._source.name).absolute()}\n{frame}\n{task}"
        digest = hashlib.sha256(question.encode()).hexdigest()[:8]
        return self._folder / f"{self._source.stem}{number}_{words}_{digest}_{ending}"

    def _append(self, rate: float, task: str, overlay: np.ndarray) -> Path:
        """Append a frame to the task's video."""
        import imageio.v2 as imageio

        path = self._path(None, task, "overlay.mp4")
        if path not in self._videos:
            self._videos[path] = self._open.enter_context(
                imageio.get_writer(_partial(path), fps=rate, macro_block_size=2)
            )
        self._videos[path].append_data(overlay)
        return path


def _partial(path: Path) -> Path:
    return path.with_name(f"part-{path.name}")

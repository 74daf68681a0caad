"""From what the mask decoder drew to an answer; on the device, so that little comes back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vltp_ros.network.config import EncoderConfig, ModelConfig
from vltp_ros.network.preprocessing import to_image_frame, valid_grid
from vltp_ros.network.run import Run
from vltp_ros.network.words import unseen_words
from vltp_ros.runtime.transfer import download
from vltp_ros.types import Odds, Segmentation, calibrated

AT_ONCE = 2**26
"""Most mask pixels that are computed at a time: each takes a few floats meanwhile."""

LEVELS = 255
"""A probability is kept in so many steps."""


@dataclass(frozen=True)
class Masks:
    """The masks of T tasks on one image, on the host."""

    levels: np.ndarray  # uint8 [T, H, W]: probability in steps of 1 / 255
    measures: np.ndarray  # float64 [T, 6]: score, area, and x, y, width, height of the box
    above: int  # levels above this belong to the mask

    def mask(self, number: int) -> np.ndarray:
        """Return the mask of a task, bool [H, W]."""
        return self.levels[number] > self.above

    def answer(
        self,
        number: int,
        task: str,
        kept: tuple[np.ndarray, ...],
        age: float,
        common: dict[str, Any],
        config: ModelConfig,
    ) -> Segmentation:
        """Return the answer to one of the tasks.

        Args:
            number: 0-based, of the task.
            task: the sentence.
            kept: per stage, bool [gh, gw], the patches that were kept for it.
            age: of its <SEG> embedding, seconds.
            common: the fields that all answers have alike.
            config: the model's.
        """
        score, area, x, y, width, height = self.measures[number].tolist()
        calibration = config.calibration
        found, nothing = _odds(calibration.found), _odds(calibration.nothing)
        return Segmentation(
            task,
            self.levels[number],
            self.above,
            int(area),
            (int(x), int(y), int(width), int(height)),
            calibrated(score, found if area else nothing),
            kept,
            seg_age_s=age,
            odds=found,
            unseen_words=unseen_words(task, config.words),
            **common | {"times_ms": dict(common["times_ms"])},
        )


def _odds(values: tuple[float, ...]) -> Odds:
    slope, offset = values
    return slope, offset


def finish_masks(
    run: Run, logits: Tensor, side: int, size: tuple[int, int], threshold: float
) -> Masks:
    """Turn mask logits into answers.

    Args:
        run: how it is run on the device.
        logits: [T, S/4, S/4], over SAM's padded square.
        side: S, pixels.
        size: of the image, rows and columns, pixels.
        threshold: probability above which a pixel belongs to the mask, 0..1.
    """
    above = math.floor(threshold * LEVELS)
    function = partial(measure_masks, side=side, size=size, above=above)
    at_once = max(1, AT_ONCE // (size[0] * size[1]))
    parts = [run(("masks", size, above), function, some) for some in logits.split(at_once)]
    levels, measures = (
        torch.cat(part) if len(part) > 1 else part[0] for part in zip(*parts, strict=True)
    )
    return Masks(download(levels), download(measures), above)


def measure_masks(
    logits: Tensor, side: int, size: tuple[int, int], above: int
) -> tuple[Tensor, Tensor]:
    """Return the fields ``levels`` and ``measures`` of :class:`Masks`, on the device."""
    probability = to_image_frame(logits.float(), side, size).sigmoid()
    levels = (LEVELS * probability).round().to(torch.uint8)
    mask = levels > above
    area = mask.sum((1, 2))
    inside = (probability * mask).sum((1, 2)) / area
    score = torch.where(area > 0, inside, 1 - probability.amax((1, 2)))
    top, height = _extent(mask.any(2))
    left, width = _extent(mask.any(1))
    measures = [score, area, left, top, width, height]
    return levels, torch.stack([measure.double() for measure in measures], 1)


def _extent(line: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first place that is True in each row of bool [T, n], and how far the last is.

    Both are 0 where none is.
    """
    marks = line.to(torch.uint8)
    first = marks.argmax(1)
    last = line.shape[1] - 1 - marks.flip(1).argmax(1)
    occupied = line.any(1)
    return first * occupied, (last - first + 1) * occupied


def kept_maps(
    kept: Sequence[np.ndarray], tasks: int, size: tuple[int, int], config: EncoderConfig
) -> list[tuple[np.ndarray, ...]]:
    """Return which patches each of T tasks kept, bool [rows, columns] of those with some image.

    Args:
        kept: per stage, int64 [T, k], the positions of the tokens that ran.
        tasks: T.
        size: of the image, rows and columns, pixels.
        config: of the encoder.
    """
    rows, columns = valid_grid(size, config.img_size, config.patch_size)
    maps = []
    for positions in kept:
        marks = np.zeros((len(positions), config.grid**2), bool)
        np.put_along_axis(marks, positions, True, axis=1)
        maps.append(marks.reshape(-1, config.grid, config.grid)[:, :rows, :columns])
    return [tuple(stage[i] for stage in maps) for i in range(tasks)]

"""Batches of public data sets' images, drawn from a seed and the step alone, as those of scenes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from vltp_ros.data.expressions import ExpressionImages, ImageExpressions
from vltp_ros.network.preprocessing import fitted_size
from vltp_ros.processes import ALONE, Process
from vltp_ros.training.batches import Batch, Source
from vltp_ros.training.config import TrainConfig

LARGEST = 1024
"""Side of SAM's input in all published sizes, pixels: of a larger image it sees no more."""

SCENES_ONLY = (
    "micro_batch",
    "mosaic",
    "cut_share",
    "further_tasks",
    "naming_tasks",
    "empty_share",
    "freeze_encoder",
    "kind_weight",
    "place_weight",
    "attention_weight",
)
"""Settings of a training that change nothing of one on public data sets."""


@dataclass(frozen=True)
class ExpressionBatch(Batch):
    """An image with T expressions; its masks may have more pixels than what is read of it.

    ``kinds`` and ``serving`` are empty: data sets tell no kinds.
    """

    ignored: Tensor  # bool [T, H, W]: what counts neither way


class ExpressionSource(Source):
    """Draws images of data sets with expressions about them, each image in a part of its own.

    An epoch is a permutation of all images; of an image's expressions ``tasks_per_image`` are
    drawn, some again where it has fewer.
    """

    data: ExpressionImages
    classes = attributes = 0

    def __init__(self, data: ExpressionImages, config: TrainConfig) -> None:
        """Take the images to draw from.

        Raises:
            ValueError: for a setting that is for scenes only.
        """
        for spec in dataclasses.fields(config):
            if spec.name in SCENES_ONLY and (value := getattr(config, spec.name)) != spec.default:
                raise ValueError(
                    f"--{spec.name.replace('_', '-')} is {value}; it is for scenes only"
                )
        super().__init__(config)
        self.data = data
        self._order = lru_cache(maxsize=2)(self._permutation)

    def batch(self, step: int) -> Batch:
        """Raise TypeError: images differ in size, so that a step has :meth:`parts` instead."""
        raise TypeError("images of public data sets have parts, not a batch")

    def parts(self, step: int, process: Process = ALONE) -> list[Batch]:
        """Return the micro-batches of one process for a step, of one image each.

        Raises:
            DataError: for an image that cannot be read, unless bad ones are skipped.
            ValueError: for a batch that the processes cannot share equally.
        """
        count = self.share(process)
        first = step * self.config.batch + process.rank * count
        return [self._part(position) for position in range(first, first + count)]

    def number(self, position: int) -> int:
        """Return which image comes at a position, counted from the start of the training."""
        epoch, index = divmod(position, len(self.data))
        return int(self._order(epoch)[index])

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.config.seed, 1, epoch]).permutation(len(self.data))

    def _part(self, position: int) -> ExpressionBatch:
        number, image = self.data.readable(self.number(position))
        return self._expressions(number, image, self._draw(position, len(image.entries)))

    def _draw(self, position: int, count: int) -> np.ndarray:
        """Draw which of an image's expressions are asked."""
        rng = np.random.default_rng([self.config.seed, 2, position])
        return np.resize(rng.permutation(count), self.config.tasks_per_image)

    def _expressions(
        self, number: int, image: ImageExpressions, chosen: np.ndarray
    ) -> ExpressionBatch:
        """Return the image of a number with some of its expressions."""
        drawn = [image.draw(int(number)) for number in chosen]
        masks = np.stack([mask for mask, _ in drawn])
        ignored = [np.zeros_like(mask) if extra is None else extra for mask, extra in drawn]
        return ExpressionBatch(
            torch.from_numpy(reduced(image.image)).permute(2, 0, 1).unsqueeze(0),
            [[image.texts[number] for number in chosen]],
            torch.from_numpy(masks),
            torch.zeros(1, 0, 0, dtype=torch.int64),
            torch.zeros(len(masks), 0),
            ignored=torch.from_numpy(np.stack(ignored)),
        )


def reduced(image: np.ndarray) -> np.ndarray:
    """Scale uint8 [H, W, 3] down to LARGEST, where its longest side is longer."""
    if max(image.shape[:2]) <= LARGEST:
        return image
    rows, columns = fitted_size(image.shape[0], image.shape[1], LARGEST)
    return cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)

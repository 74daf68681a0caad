"""Batches of tabletop scenes, drawn from a seed and the step alone, so that a run can resume."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import cv2
import numpy as np
import torch
from torch import Tensor

from vltp_ros.data.scenes import LabelledScene, TabletopDataset
from vltp_ros.processes import ALONE, Process
from vltp_ros.simulation import Task
from vltp_ros.training.config import TrainConfig

QUARTER = 320
"""Side of a mosaic's quarter, pixels: four make a square that shows objects at their usual size."""


@dataclass(frozen=True)
class Batch:
    """B images with T tasks each."""

    images: Tensor  # uint8 [B, 3, H, W]
    tasks: list[list[str]]  # B lists of T sentences
    masks: Tensor  # bool [B * T, H, W]
    kinds: Tensor  # int64 [B, H, W]: 0 = no object, i = the i-th kind
    serving: Tensor  # float [B * T, kinds]: 1 for the kinds that serve the task, else 0

    def to(self, device: torch.device) -> Self:
        """Return the batch on a device."""
        tensors: dict[str, Any] = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **tensors)

    def images_from(self, first: int, count: int) -> Self:
        """Return ``count`` images, from a 0-based one on, with all that belongs to them."""
        whole, fields = len(self.images), {}
        for name, value in vars(self).items():
            rows = len(value) // whole  # of each image
            fields[name] = value[first * rows : (first + count) * rows]
        return replace(self, **fields)


@dataclass(frozen=True)
class CachedBatch(Batch):
    """A batch whose tokens and <SEG> embeddings are known."""

    tokens: Tensor  # float32 [B, N, C], after the blocks before the first stage
    segs: Tensor  # float32 [B * T, 1, 256]


class TrainingData(Protocol):
    """What batches are drawn from."""

    @property
    def identity(self) -> str:
        """Return what tells this data from other, in words and with a digest."""

    def __len__(self) -> int:
        """Return the number of its images."""


class Source(ABC):
    """Prefetches batches, each a pure function of its step."""

    data: TrainingData
    """The images."""
    classes: int
    """How many different things the image encoder tells apart."""
    attributes: int
    """How many things ``serving`` says of an answer."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """Return the batch of a step, a pure function of the seed, the step and the data set."""

    def share(self, process: Process) -> int:
        """Return how many images of each step's batch are those of one process.

        Raises:
            ValueError: for a batch that the processes cannot share equally, in whole micro-batches.
        """
        config, count = self.config, process.count
        unit = count * (config.micro_batch or 1)
        if config.batch % unit:
            in_parts = f" with {config.micro_batch} images at once" if config.micro_batch else ""
            raise ValueError(
                f"--batch is {config.batch}; {count} processes{in_parts} need a multiple of {unit}"
            )
        return config.batch // count

    def parts(self, step: int, process: Process = ALONE) -> list[Batch]:
        """Return the micro-batches of one process for a step, all of equally many images.

        Each process draws the whole batch, and takes its share.
        """
        count, batch = self.share(process), self.batch(step)
        first, size = process.rank * count, self.config.micro_batch or count
        return [batch.images_from(number, size) for number in range(first, first + count, size)]

    def batches(self, start: int, process: Process = ALONE) -> Iterator[tuple[int, list[Batch]]]:
        """Yield (step, parts) from ``start`` to the last step; the next ones are read ahead."""
        readers, steps = self.config.readers, self.config.steps
        with ThreadPoolExecutor(readers) as pool:
            ahead: deque[Future[list[Batch]]] = deque()
            for step in range(start, min(start + readers, steps)):
                ahead.append(pool.submit(self.parts, step, process))
            for step in range(start, steps):
                parts = ahead.popleft().result()
                if step + readers < steps:
                    ahead.append(pool.submit(self.parts, step + readers, process))
                yield step, parts


class BatchSource(Source):
    """Draws, augments and prefetches batches of edition 1."""

    data: TabletopDataset

    def __init__(self, data: TabletopDataset, tasks: Sequence[Task], config: TrainConfig) -> None:
        """Take the scenes and tasks to draw from.

        Args:
            data: must hold at least one scene.
            tasks: with the kinds that serve them, and the sentences that training may use.
            config: settings of the run.

        Raises:
            ValueError: for a data set without scenes, or of another edition.
        """
        if data.edition != 1:
            raise ValueError(f"{data.directory} has edition {data.edition}; it must have edition 1")
        if not len(data):
            raise ValueError(f"{data.directory} holds no scenes yet")
        super().__init__(config)
        self.data, self.tasks = data, tasks
        self.classes = self.attributes = len(data.kinds)
        self.serving = np.array([[kind in task.kinds for kind in data.kinds] for task in tasks])

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, a pure function of the seed, the step and the data set."""
        rng = np.random.default_rng([self.config.seed, step])
        pictures = self._mosaics(step, rng) if self.config.mosaic else self._scenes(step, rng)
        chosen = [self._draw_tasks(kinds, rng) for _, kinds in pictures]
        masks = [
            np.isin(kinds, np.flatnonzero(self.serving[task]) + 1)
            for (_, kinds), tasks in zip(pictures, chosen, strict=True)
            for task in tasks
        ]
        return Batch(
            torch.from_numpy(np.stack([image for image, _ in pictures])).permute(0, 3, 1, 2),
            [[str(rng.choice(self.tasks[task].phrasings)) for task in row] for row in chosen],
            torch.from_numpy(np.stack(masks)),
            torch.from_numpy(np.stack([kinds for _, kinds in pictures])).long(),
            torch.from_numpy(self.serving[np.concatenate(chosen)]).float(),
        )

    def _order(self, step: int, scenes: int) -> list[int]:
        """Return the indices of a step's scenes; every epoch is a permutation of its own."""
        count, chosen = len(self.data), []
        for position in range(step * scenes, (step + 1) * scenes):
            epoch, index = divmod(position, count)
            order = np.random.default_rng([self.config.seed, 1, epoch]).permutation(count)
            chosen.append(int(order[index]))
        return chosen

    def _scenes(self, step: int, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return image uint8 [H, W, 3] and kinds uint8 [H, W] of whole scenes."""
        whole = np.s_[:, :]
        return [
            self._augmented(self.data[i], whole, rng) for i in self._order(step, self.config.batch)
        ]

    def _mosaics(self, step: int, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return squares of four cuts, crowded with objects, in the form of :meth:`_scenes`."""
        scenes = [self.data[i] for i in self._order(step, 4 * self.config.batch)]
        cuts = [self._augmented(scene, _cut(scene, rng), rng) for scene in scenes]
        return [
            (_tile([image for image, _ in four]), _tile([kinds for _, kinds in four]))
            for four in (cuts[i : i + 4] for i in range(0, len(cuts), 4))
        ]

    def _augmented(
        self, scene: LabelledScene, part: tuple[slice, slice], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a part of a scene in another light, mirrored half of the time, and its kinds."""
        lookup = np.zeros(256, np.uint8)
        lookup[1 : len(scene.kinds) + 1] = [self.data.kinds.index(str(k)) + 1 for k in scene.kinds]
        mirror = np.s_[:, ::-1] if rng.random() < 0.5 else np.s_[:, :]
        image = np.ascontiguousarray(scene.image[part][mirror])
        labels = np.ascontiguousarray(scene.labels[part][mirror])
        return cv2.LUT(image, light(rng)), cv2.LUT(labels, lookup)

    def _draw_tasks(self, kinds: np.ndarray, rng: np.random.Generator) -> list[int]:
        """Draw the numbers of tasks for a picture; something in it serves most of them."""
        present = np.bincount(kinds.ravel(), minlength=len(self.data.kinds) + 1)[1:] > 0
        served = np.flatnonzero((self.serving & present).any(1))
        unserved = np.setdiff1d(np.arange(len(self.tasks)), served)
        chosen = []
        for _ in range(self.config.tasks_per_image):
            empty = len(unserved) and rng.random() < self.config.empty_share
            pool = unserved if empty or not len(served) else served
            chosen.append(int(rng.choice(pool)))
        return chosen


def light(rng: np.random.Generator) -> np.ndarray:
    """Draw a lookup table, uint8 [256]: levels under another brightness and contrast."""
    gain, offset = rng.uniform(0.8, 1.2), rng.uniform(-20, 20)
    return np.clip((np.arange(256) - 128) * gain + 128 + offset, 0, 255).astype(np.uint8)


def _cut(scene: LabelledScene, rng: np.random.Generator) -> tuple[slice, slice]:
    """Draw a square of side QUARTER around a random point of an object."""
    coarse = 8  # pixels: objects are larger, and looking at every pixel is slow
    rows, columns = np.nonzero(scene.labels[::coarse, ::coarse])
    pick = rng.integers(len(rows)) if len(rows) else None
    y, x = (coarse * rows[pick], coarse * columns[pick]) if pick is not None else (0, 0)
    height, width = scene.labels.shape
    y = int(np.clip(y - rng.integers(QUARTER), 0, height - QUARTER))
    x = int(np.clip(x - rng.integers(QUARTER), 0, width - QUARTER))
    return np.s_[y : y + QUARTER, x : x + QUARTER]


def _tile(four: list[np.ndarray]) -> np.ndarray:
    return np.vstack([np.hstack(four[:2]), np.hstack(four[2:])])

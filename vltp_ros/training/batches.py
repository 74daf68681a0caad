"""Batches of tabletop scenes, drawn from a seed and the step alone, so that a run can resume."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from vltp_ros.config import TrainConfig
from vltp_ros.data.tabletop import LabelledScene, TabletopDataset

QUARTER = 320
"""Side of a mosaic's quarter, pixels: four make a square that shows objects at their usual size."""


@dataclass(frozen=True)
class Batch:
    """B images with T tasks each."""

    images: Tensor  # uint8 [B, 3, H, W]
    tasks: list[list[str]]  # B lists of T sentences
    masks: Tensor  # bool [B * T, H, W]
    kinds: Tensor  # int64 [B, H, W]: 0 = no object, i = the i-th kind


class BatchSource:
    """Draws, augments and prefetches batches."""

    def __init__(
        self, data: TabletopDataset, phrasings: dict[str, tuple[str, ...]], config: TrainConfig
    ) -> None:
        """
        Args:
            data: must hold at least one scene.
            phrasings: task name -> the sentences that training may use for it.
        """
        if not len(data):
            raise ValueError(f"{data.directory} holds no scenes yet")
        self.data, self.phrasings, self.config = data, phrasings, config

    def batches(self, start: int) -> Iterator[tuple[int, Batch]]:
        """(step, batch) from ``start`` to the last step; the next one is read ahead."""
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self.batch, start)
            for step in range(start, self.config.steps):
                batch = coming.result()
                if step + 1 < self.config.steps:
                    coming = pool.submit(self.batch, step + 1)
                yield step, batch

    def batch(self, step: int) -> Batch:
        """The batch of a step: a pure function of the seed, the step and the data set."""
        rng = np.random.default_rng([self.config.seed, step])
        if self.config.mosaic:
            scenes = [self.data[i] for i in self._order(step, 4 * self.config.batch)]
            return _mosaics([self._quarter(scene, rng) for scene in scenes])
        parts = [self._draw(self.data[i], rng) for i in self._order(step, self.config.batch)]
        return Batch(
            torch.from_numpy(np.stack([p[0] for p in parts])).permute(0, 3, 1, 2),
            [p[1] for p in parts],
            torch.from_numpy(np.concatenate([p[2] for p in parts])),
            torch.from_numpy(np.stack([p[3] for p in parts])).long(),
        )

    def _order(self, step: int, scenes: int) -> list[int]:
        """The scenes of a step: every epoch is a permutation of its own."""
        count, chosen = len(self.data), []
        for position in range(step * scenes, (step + 1) * scenes):
            epoch, place = divmod(position, count)
            order = np.random.default_rng([self.config.seed, 1, epoch]).permutation(count)
            chosen.append(int(order[place]))
        return chosen

    def _draw(self, scene: LabelledScene, rng: np.random.Generator) -> tuple:
        """Image, sentences, masks and kinds of one scene, mirrored half of the time."""
        queries = self._queries(scene, rng)
        texts = [str(rng.choice(self.phrasings[q["task"]])) for q in queries]
        masks = np.stack([scene.mask(q) for q in queries])
        image, kinds = self._recast(scene, np.s_[:, :], rng)
        if rng.random() < 0.5:
            image, masks, kinds = image[:, ::-1], masks[..., ::-1], kinds[:, ::-1]
        return image.copy(), texts, masks.copy(), kinds.copy()

    def _recast(
        self, scene: LabelledScene, cut: tuple[slice, slice], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """A part of the image in another light, and the kind at each of its pixels."""
        kinds = np.zeros(256, np.uint8)
        kinds[1 : len(scene.kinds) + 1] = [self.data.kinds.index(kind) + 1 for kind in scene.kinds]
        image = cv2.LUT(np.ascontiguousarray(scene.image[cut]), _light(rng))
        return image, cv2.LUT(np.ascontiguousarray(scene.labels[cut]), kinds)

    def _quarter(
        self, scene: LabelledScene, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """A 320 x 320 cut around a random place on an object, mirrored half of the time."""
        coarse = 8  # pixels: objects are larger, and looking at every pixel is slow
        rows, columns = np.nonzero(scene.labels[::coarse, ::coarse])
        pick = rng.integers(len(rows)) if len(rows) else None
        y, x = (coarse * rows[pick], coarse * columns[pick]) if pick is not None else (0, 0)
        height, width = scene.labels.shape
        y = int(np.clip(y - rng.integers(QUARTER), 0, height - QUARTER))
        x = int(np.clip(x - rng.integers(QUARTER), 0, width - QUARTER))
        image, kinds = self._recast(scene, np.s_[y : y + QUARTER, x : x + QUARTER], rng)
        return (image[:, ::-1], kinds[:, ::-1]) if rng.random() < 0.5 else (image, kinds)

    def _queries(self, scene: LabelledScene, rng: np.random.Generator) -> list[dict]:
        served = [q for q in scene.queries if q["objects"]]
        unserved = [q for q in scene.queries if not q["objects"]]
        chosen = []
        for _ in range(self.config.tasks_per_image):
            empty = not served or (unserved and rng.random() < self.config.empty_share)
            pool = unserved if empty else served
            chosen.append(pool[rng.integers(len(pool))])
        return chosen


def _light(rng: np.random.Generator) -> np.ndarray:
    """uint8 [256]: levels under another brightness and contrast."""
    gain, offset = rng.uniform(0.8, 1.2), rng.uniform(-20, 20)
    return np.clip((np.arange(256) - 128) * gain + 128 + offset, 0, 255).astype(np.uint8)


def _mosaics(quarters: list[tuple[np.ndarray, np.ndarray]]) -> Batch:
    """Four cuts a mosaic; without tasks, for these would be about four scenes at once."""

    def tile(four: list[np.ndarray]) -> np.ndarray:
        return np.vstack([np.hstack(four[:2]), np.hstack(four[2:])])

    images = [tile([q[0] for q in quarters[i : i + 4]]) for i in range(0, len(quarters), 4)]
    kinds = [tile([q[1] for q in quarters[i : i + 4]]) for i in range(0, len(quarters), 4)]
    return Batch(
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
        [],
        torch.empty(0),
        torch.from_numpy(np.stack(kinds)).long(),
    )

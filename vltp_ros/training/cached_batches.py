"""Batches of images with what is stored of each, so that training runs neither LLaVA nor a stem.

Scenes are then seen as they were rendered: whole, in their own light, with the words of their
questions. Images of public data sets are drawn, and seen, as they are without a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vltp_ros.data.expressions import ExpressionImages, ImageExpressions
from vltp_ros.data.scenes import TabletopDataset
from vltp_ros.processes import ALONE, Process
from vltp_ros.training.batches import CachedBatch, Source
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.crowded_batches import (
    CrowdedSource,
    draw_queries,
    looks_of,
    mask_of,
    whole,
)
from vltp_ros.training.feature_cache import FeatureCache
from vltp_ros.training.public_batches import ExpressionBatch, ExpressionSource


@dataclass(frozen=True)
class CachedExpressionBatch(ExpressionBatch, CachedBatch):
    """An image with T expressions whose tokens and <SEG> embeddings are known."""


class CachedSource(Source):
    """Draws batches of whole scenes, each with what is stored of it."""

    data: TabletopDataset
    classes = CrowdedSource.classes
    attributes = CrowdedSource.attributes

    def __init__(self, cache: FeatureCache, config: TrainConfig) -> None:
        """Take a cache of scenes and the settings of a training.

        Raises:
            ValueError: as for CrowdedSource, and for cuts of scenes, of which nothing is stored.
        """
        if config.cut_share:
            raise ValueError(
                f"--cut-share is {config.cut_share}; stored features are those of whole scenes"
            )
        super().__init__(config)
        assert isinstance(cache.data, TabletopDataset)
        self.cache, self.data = cache, cache.data
        self._scenes = CrowdedSource(cache.data, config)

    def fill(self, process: Process = ALONE) -> None:
        """Store what the training will ask for, see FeatureCache.fill; its readers then only read.

        Args:
            process: which of those that train together.
        """
        steps = range(self.config.steps)
        wanted = {number for step in steps for number in self._scenes.numbers(step)}
        self.cache.fill(wanted, process)

    def batch(self, step: int) -> CachedBatch:
        """Return the batch of a step, a pure function of the seed, the step and the cache."""
        rng = np.random.default_rng([self.config.seed, step])
        numbers = self._scenes.numbers(step)
        views = [whole(self.data[number]) for number in numbers]
        features = [self.cache[number] for number in numbers]
        asked = [_draw(view.queries, self.config.tasks_per_image, rng) for view in views]
        segs = [
            stored.segs[[i for i, _ in row]] for stored, row in zip(features, asked, strict=True)
        ]
        masks = [mask_of(view, query) for view, row in zip(views, asked, strict=True)
                 for _, query in row]  # fmt: skip
        images = np.stack([view.image for view in views])
        return CachedBatch(
            torch.from_numpy(images).permute(0, 3, 1, 2),
            [[query["text"] for _, query in row] for row in asked],
            torch.from_numpy(np.stack(masks)),
            torch.from_numpy(np.stack([looks_of(view) for view in views])),
            torch.zeros(len(masks), 0),
            tokens=torch.stack([stored.tokens for stored in features]).float(),
            segs=torch.cat(segs).unsqueeze(1),
        )


class CachedExpressionSource(ExpressionSource):
    """Draws what ExpressionSource draws, each image with what is stored of it."""

    def __init__(self, cache: FeatureCache, config: TrainConfig) -> None:
        """Take a cache of public images; ValueError as for ExpressionSource."""
        assert isinstance(cache.data, ExpressionImages)
        super().__init__(cache.data, config)
        self.cache = cache

    def fill(self, process: Process = ALONE) -> None:
        """Store what the training will ask for, as :meth:`CachedSource.fill` does."""
        positions = range(self.config.steps * self.config.batch)
        wanted = {self.number(position) for position in positions}
        self.cache.fill(wanted, process)

    def _expressions(
        self, number: int, image: ImageExpressions, chosen: np.ndarray
    ) -> CachedExpressionBatch:
        """Return an image with some of its expressions and what is stored of them."""
        stored = self.cache[number]
        return CachedExpressionBatch(
            **vars(super()._expressions(number, image, chosen)),
            tokens=stored.tokens.float().unsqueeze(0),
            segs=stored.segs[torch.from_numpy(chosen)].unsqueeze(1),
        )


def stored_source(
    cache: FeatureCache, config: TrainConfig
) -> CachedSource | CachedExpressionSource:
    """Return what draws from a cache of scenes or of public images; ValueError as either says."""
    public = isinstance(cache.data, ExpressionImages)
    return CachedExpressionSource(cache, config) if public else CachedSource(cache, config)


def _draw(queries: Sequence[dict], count: int, rng: np.random.Generator) -> list[tuple[int, dict]]:
    """Draw queries as :func:`draw_queries` does, each with its number."""
    numbered = [{**query, "number": number} for number, query in enumerate(queries)]
    return [(query["number"], query) for query in draw_queries(numbered, count, rng)]

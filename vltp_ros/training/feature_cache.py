"""What a trained model computes of crowded scenes, stored once, so that what follows trains fast.

The encoder before the first stage and LLaVA stay as they are while a pruned half is trained, so
what they give for a scene and its questions is the same in every run. Scenes are then seen as they
were rendered: whole, in their own light, with the words of their questions.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vltp_ros.data.scenes import LabelledScene, TabletopDataset
from vltp_ros.network.vltp import Vltp
from vltp_ros.progress import progress_bar
from vltp_ros.training.batches import CachedBatch, Source
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.crowded_batches import (
    CrowdedSource,
    draw_queries,
    looks_of,
    mask_of,
    whole,
)


@dataclass(frozen=True)
class Features:
    """What is stored of a scene."""

    tokens: Tensor  # float16 [N, C], after the blocks before the first stage
    segs: Tensor  # float32 [Q, 256], <SEG> of each question


class FeatureCache:
    """A directory of :class:`Features`, computed when they are first asked for."""

    def __init__(self, directory: Path, model: Vltp, data: TabletopDataset, after: int) -> None:
        """Open a directory, or make one.

        Args:
            directory: a cache of this model and data, or nothing yet.
            model: in evaluation mode, in the precision to store for.
            data: the scenes.
            after: 1-based layer of the image encoder whose output is stored.

        Raises:
            ValueError: for a cache of another model, other scenes or another layer.
        """
        self.directory, self.model, self.data, self.after = directory, model, data, after
        directory.mkdir(parents=True, exist_ok=True)
        record(directory / "cache.json", {**describe_inputs(model, data), "after": after})

    def __getitem__(self, index: int) -> Features:
        """Return what is stored of a scene, computed now if nothing is."""
        path = self.directory / f"{index:06d}.npz"
        if not path.is_file():
            self._write(path, self.data[index])
        with np.load(path) as arrays:
            return Features(*(torch.from_numpy(arrays[name]) for name in ("tokens", "segs")))

    def fill(self, indices: Iterable[int], progress: bool = True) -> None:
        """Compute what is missing of some scenes."""
        missing = [i for i in indices if not (self.directory / f"{i:06d}.npz").is_file()]
        for index in progress_bar(missing, shown=progress, unit="scene"):
            self._write(self.directory / f"{index:06d}.npz", self.data[index])

    @torch.inference_mode()
    def _write(self, path: Path, scene: LabelledScene) -> None:
        model = self.model
        pixels = torch.from_numpy(scene.image).permute(2, 0, 1).unsqueeze(0)
        pixels = pixels.to(model.pixel_mean.device)
        tokens = model.stem(model.preprocess(pixels), (self.after,))[0]
        texts = [query["text"] for query in scene.queries]
        segs = model.reasoner(pixels, [texts])[:, 0]
        partial_file = path.with_suffix(f".{os.getpid()}.part")
        with partial_file.open("wb") as file:
            arrays = {"tokens": tokens.half().cpu().numpy(), "segs": segs.float().cpu().numpy()}
            np.savez(file, **arrays)
        os.replace(partial_file, path)


class CachedSource(Source):
    """Draws batches of whole scenes, each with what is stored of it."""

    classes = CrowdedSource.classes
    attributes = CrowdedSource.attributes

    def __init__(self, cache: FeatureCache, config: TrainConfig) -> None:
        """Take a cache and the settings of a training; ValueError as for CrowdedSource."""
        super().__init__(config)
        self.cache, self.data = cache, cache.data
        self._scenes = CrowdedSource(cache.data, config)

    def fill(self) -> None:
        """Store what the training will ask for; its readers then only read."""
        steps = range(self.config.steps)
        self.cache.fill(sorted({i for step in steps for i in self._scenes.numbers(step)}))

    def batch(self, step: int) -> CachedBatch:
        """Return the batch of a step, a pure function of the seed, the step and the cache."""
        rng = np.random.default_rng([self.config.seed, step])
        numbers = self._scenes.numbers(step)
        views = [whole(self.cache.data[number]) for number in numbers]
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


def _draw(queries: Sequence[dict], count: int, rng: np.random.Generator) -> list[tuple[int, dict]]:
    """Draw queries as :func:`draw_queries` does, each with its number."""
    numbered = [{**query, "number": number} for number, query in enumerate(queries)]
    return [(query["number"], query) for query in draw_queries(numbered, count, rng)]


def describe_inputs(model: Vltp, data: TabletopDataset) -> dict[str, Any]:
    """Return what tells a dense model and a data set from others, for :func:`record`."""
    digest = hashlib.sha256()
    for part in (model.image_encoder, model.mask_decoder, model.reasoner):
        for tensor in part.state_dict().values():
            digest.update(tensor.float().cpu().numpy().tobytes())
    scenes = {name: data.description[name] for name in ("seed", "split")}
    return {"model": digest.hexdigest(), **scenes}


def record(path: Path, settings: dict[str, Any]) -> None:
    """Write what a directory's files were made with; ValueError where it was something else."""
    own = json.loads(json.dumps(settings))  # as it is read: no tuples
    stored = json.loads(path.read_text()) if path.is_file() else own
    changed = [name for name in own if stored.get(name) != own[name]]
    if changed:
        name = changed[0]
        raise ValueError(
            f"{path}: {name} is {stored.get(name)!r}; it is {own[name]!r} now; "
            "give another directory"
        )
    partial_file = path.with_suffix(".part")
    partial_file.write_text(json.dumps(own))
    os.replace(partial_file, path)

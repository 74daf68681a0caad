"""Trains what rows of the papers' tables need, and measures them on other images."""

from __future__ import annotations

import copy
import json
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vltp_ros.data.entries import DataError
from vltp_ros.data.expressions import ExpressionImages, ImageExpressions
from vltp_ros.data.scenes import LabelledScene, TabletopDataset
from vltp_ros.evaluation.flops import model_gmacs
from vltp_ros.evaluation.metrics import MaskMetrics
from vltp_ros.evaluation.questions import ALL, count_answers, right_answers
from vltp_ros.evaluation.rows import LEARN_KINDS, Method, Row, Training
from vltp_ros.evaluation.table7 import BaselineStage, train_baseline
from vltp_ros.network.token_selection import fixed_budget
from vltp_ros.network.vltp import Vltp
from vltp_ros.progress import progress_bar
from vltp_ros.settings import decisive
from vltp_ros.training.cached_batches import stored_source
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.feature_cache import (
    TEXTS_AT_ONCE,
    FeatureCache,
    describe_inputs,
    record,
)
from vltp_ros.training.loop import fit
from vltp_ros.training.public_batches import reduced
from vltp_ros.training.stages import PrunedStage, train_only

Trained = Vltp | BaselineStage

Images = TabletopDataset | ExpressionImages
"""Scenes of edition 2, or images of public data sets."""


@dataclass(frozen=True)
class Shown:
    """An image, with what all rows share."""

    image: LabelledScene | ImageExpressions
    pixels: Tensor  # uint8 [1, 3, H, W]
    tokens: Tensor  # float32 [1, N, C], before the model's first stage
    segs: Tensor  # float32 [Q, 1, 256], LLaVA having seen all tokens


class RowRunner:
    """Trains and measures rows around one dense model, each once: results are files."""

    def __init__(
        self,
        model: Vltp,
        training: Images,
        held_out: Images,
        config: TrainConfig,
        directory: Path,
        count: int | None = None,
    ) -> None:
        """Take what all rows have in common.

        Args:
            model: dense, in evaluation mode; it is not changed.
            training: images to train on.
            held_out: images to measure on; all questions are asked.
            config: of each training, but for rate and seed.
            directory: for trainings, stored features and results.
            count: of the held-out images, the first ones; None: all.

        Raises:
            ValueError: for a directory of another model, other images or other settings.
        """
        self.model, self.config, self.directory = _without_pruned_half(model), config, directory
        self.count = len(held_out) if count is None else min(count, len(held_out))
        self.first = model.config.pruning.prune_after[0]
        self.device = model.pixel_mean.device
        self.held_out, self.split = held_out, _split(held_out)
        self.has_kinds = isinstance(training, TabletopDataset)
        self.results = directory / f"results {self.split}"
        self.results.mkdir(parents=True, exist_ok=True)
        settings = {**describe_inputs(model, held_out), "count": self.count, **decisive(config)}
        record(self.results / "settings.json", settings)

        def features(data: Images, name: str) -> Callable[[int], FeatureCache]:
            folder = directory / f"features {name}"
            return cache(lambda layer: FeatureCache(folder / f"{layer}", model, data, layer))

        self.train_features = features(training, "train")
        """Layer of the image encoder -> what is stored after it, of the images to train on."""
        self.held_out_features = features(held_out, self.split)

    def run(self, rows: Sequence[Row], progress: bool = True) -> list[dict]:
        """Return what is measured of each row; those without a file are measured now.

        Rows of the methods of :meth:`left_out` are left out.
        """
        without = self.left_out(rows)
        rows = [row for row in rows if not (row.training and row.training.method in without)]
        missing = {row.name: row for row in rows if not self._path(row).is_file()}.values()
        by_training = sorted(missing, key=lambda row: row.training.name if row.training else "")
        for training, group in groupby(by_training, key=lambda row: row.training):
            trained = self.model if training is None else self._train(training)
            for row in group:
                self._measure(row, trained, progress)
        return [{**_heading(row), **json.loads(self._path(row).read_text())} for row in rows]

    def left_out(self, rows: Sequence[Row]) -> list[Method]:
        """Return the methods of rows that learn from what the images to train on do not tell."""
        methods = dict.fromkeys(row.training.method for row in rows if row.training)
        return [method for method in methods if method in LEARN_KINDS and not self.has_kinds]

    def _path(self, row: Row) -> Path:
        return self.results / f"{row.name}.json"

    def _stages(self, quarters: Sequence[int]) -> tuple[int, ...]:
        """Return the layers of the image encoder that end some quarters of its depth."""
        return tuple(self.model.config.encoder.depth * quarter // 4 for quarter in quarters)

    def _train(self, training: Training) -> Trained:
        """Train, or read what was trained."""
        config, stages = replace(self.config, seed=training.seed), self._stages(training.quarters)
        source = stored_source(self.train_features(stages[0]), config)
        run = self.directory / "trainings" / training.name
        if training.method != "VLTP":
            source.fill()
            return train_baseline(training.method, self.model, source, config, run).eval()
        start = self.model if training.start is None else self._train(training.start)
        assert isinstance(start, Vltp)
        torch.manual_seed(training.seed)
        model = _with_pruned_half(start, stages, fresh=training.start is None)
        if training.scheme != "direct":
            source.fill()
            stage = PrunedStage(model, config, training.rates)
            if training.scheme == "prune decoder":
                train_only(model, ("prune_decoder",))
            fit(stage.train(), source, config, run)
        return model.eval()

    @torch.inference_mode()
    def _measure(self, row: Row, trained: Trained, progress: bool) -> None:
        """Answer all questions about the held-out images in a row's way; write the file."""
        metrics: defaultdict[str, MaskMetrics] = defaultdict(MaskMetrics)
        means, costs = [], []
        for number in progress_bar(range(self.count), desc=row.name, shown=progress, leave=False):
            shown = self._show(number)
            if shown is None:
                continue
            torch.manual_seed(number)  # for what is drawn
            logits, gmacs = _answer(row, self._stages(row.quarters), trained, shown, self.first)
            costs.append(gmacs)
            means.append(self._add(metrics, shown.image, logits))
        if len(means) < 2:
            raise DataError(self.split, f"{len(means)} images can be read; 2 are needed")
        answer = {
            "split": self.split,
            "giou": metrics[ALL].giou,
            "giou_error": float(np.std(means, ddof=1) / len(means) ** 0.5),
            "ciou": metrics[ALL].ciou,
            "gmacs": float(np.mean(costs)),
            "count": len(metrics[ALL].ious),
            "families": {name: one.giou for name, one in sorted(metrics.items()) if name != ALL},
            "scenes": means,
        }
        partial_file = self._path(row).with_suffix(".part")
        partial_file.write_text(json.dumps(answer))
        os.replace(partial_file, self._path(row))

    def _show(self, number: int) -> Shown | None:
        """Read an image and what is stored of it; None for a bad one where such are skipped."""
        try:
            image = self.held_out[number]
        except DataError:
            if isinstance(self.held_out, ExpressionImages) and self.held_out.skip_bad:
                return None
            raise
        stored = self.held_out_features(self.first)[number]
        pixels = torch.from_numpy(reduced(image.image)).permute(2, 0, 1).unsqueeze(0)
        tokens, segs = stored.tokens.float()[None], stored.segs.unsqueeze(1)
        return Shown(image, *(one.to(self.device) for one in (pixels, tokens, segs)))

    def _add(
        self,
        metrics: dict[str, MaskMetrics],
        image: LabelledScene | ImageExpressions,
        logits: Tensor,
    ) -> float:
        """Count the answers to an image's questions; return their mean IoU."""
        config, right = self.model.config, right_answers(image)
        count_answers(metrics, right, logits, config.encoder.img_size, config.threshold)
        return float(np.mean(metrics[ALL].ious[-len(right) :]))


def _split(data: Images) -> str:
    """Return the name of what is measured on."""
    return str(data.description["split"]) if isinstance(data, TabletopDataset) else data.names[0]


def _heading(row: Row) -> dict:
    """Return what is known of a row before it is measured."""
    seed = row.training.seed if row.training else None
    return {"table": row.table, "label": row.label, "seed": seed, "paper": dict(row.paper)}


def _copy(model: Vltp) -> Vltp:
    """Return a copy that shares what no row trains."""
    shared = (model.image_encoder, model.reasoner, model.prompt_encoder, model.mask_decoder)
    return copy.deepcopy(model, {id(part): part for part in shared})


def _without_pruned_half(model: Vltp) -> Vltp:
    model = _copy(model)
    model.prune_decoder = model.pruned_mask_decoder = None
    return model


def _with_pruned_half(start: Vltp, stages: tuple[int, ...], fresh: bool) -> Vltp:
    """Return a copy with some stages, its pruned half as it is or new."""
    model = _copy(start)
    pruning = replace(model.config.pruning, prune_after=stages, rates=(0.5,) * len(stages))
    model.config = replace(model.config, pruning=pruning)
    if fresh:
        model.prune_decoder = None
        model.inherit()
    return model


def _answer(
    row: Row, stages: tuple[int, ...], trained: Trained, shown: Shown, first: int
) -> tuple[Tensor, float]:
    """Return mask logits [Q, S/4, S/4] of an image's questions and the GMACs of one of them.

    Args:
        row: says how they are answered.
        stages: layers after which it selects.
        trained: for it.
        shown: the image.
        first: layer whose tokens are stored.
    """
    if isinstance(trained, BaselineStage):
        return trained.draw(shown.pixels, shown.segs)
    model, segs = trained, shown.segs
    if row.csp is not None:
        texts = list(shown.image.texts)
        features = model.reasoner.encode_image(shown.pixels, cls=row.csp.selector == "cls")
        segs = model.reasoner.reason(features, [texts], csp=row.csp).seg.float()
    ranking = segs.roll(1, 0) if row.another else segs
    stored = stages[:1] == (first,)
    tokens = shown.tokens if stored else model.stem(model.preprocess(shown.pixels), stages)
    budget, logits = fixed_budget(row.rates), []
    for seg, by in zip(segs.split(TEXTS_AT_ONCE), ranking.split(TEXTS_AT_ONCE), strict=True):
        rows = tokens.expand(len(seg), -1, -1)
        encoded = model.encode(rows, stages, budget, model.score(by), returns=row.returns)
        logits.append(model.draw(encoded, seg))
    return torch.cat(logits), model_gmacs(model.config, stages, row.rates)["gmacs"]

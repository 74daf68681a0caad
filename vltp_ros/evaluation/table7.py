"""Table 7 of VLTP on tabletop scenes: train the baselines and VLTP alike, and compare them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vltp_ros.data.samples import Sample
from vltp_ros.evaluation.baselines import BASELINES, Baseline
from vltp_ros.evaluation.flops import count_gmacs, model_gmacs
from vltp_ros.evaluation.metrics import MaskMetrics
from vltp_ros.evaluation.tabletop import rendered_samples
from vltp_ros.network.preprocessing import to_image_frame
from vltp_ros.network.vltp import Vltp
from vltp_ros.progress import progress_bar
from vltp_ros.runtime.session import Session
from vltp_ros.runtime.settings import InferenceSettings
from vltp_ros.simulation import Split
from vltp_ros.training.batches import Batch, BatchSource, Source
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.loop import fit
from vltp_ros.training.stages import (
    PrunedStage,
    frozen_inputs,
    ignored_pixels,
    image_mask_loss,
)

CALIBRATION_BATCHES = 8

Way = tuple[str, float]
"""A method and its rate."""

Segment = Callable[[Sample], tuple[np.ndarray, float]]
"""Sample -> mask, bool [H, W], and the GMACs of its encoding."""


class BaselineStage(nn.Module):
    """Training of a baseline's own module and a mask decoder of its own, all else frozen."""

    finetuned = ("mask_decoder",)

    def __init__(self, model: Vltp, baseline: Baseline) -> None:
        """Start the mask decoder from the dense one."""
        super().__init__()
        self.model = model
        model.requires_grad_(False)
        self.baseline = baseline
        self.mask_decoder = copy.deepcopy(model.mask_decoder).requires_grad_(True)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Return losses by name; ``loss`` is their sum."""
        model = self.model
        tokens, seg = frozen_inputs(model, batch, self.baseline.encoder.prune_after)
        features, own = self.baseline(model.preprocess(batch.images), batch.kinds, tokens)
        features = features.repeat_interleave(len(batch.tasks[0]), 0)
        logits = model.decode(self.mask_decoder, features, seg)
        side, ignored = model.config.encoder.img_size, ignored_pixels(batch)
        mask = image_mask_loss(logits, batch.masks, side, ignored=ignored)
        return {"loss": mask + own, "mask": mask, "own": own}

    @torch.inference_mode()
    def draw(self, pixels: Tensor, segs: Tensor) -> tuple[Tensor, float]:
        """Return mask logits [Q, S/4, S/4] of Q <SEG> [Q, 1, 256], and the GMACs of the encoding.

        Args:
            pixels: uint8 [1, 3, H, W].
            segs: of the questions about the image.
        """
        square = self.model.preprocess(pixels)
        (features, _), gmacs = count_gmacs(lambda: self.baseline(square))
        features = features.expand(len(segs), -1, -1, -1)
        return self.model.decode(self.mask_decoder, features, segs), gmacs

    def segment(self, sample: Sample) -> tuple[np.ndarray, float]:
        """Return the mask, bool [H, W], and the GMACs of its encoding."""
        model = self.model
        image = torch.from_numpy(sample.image).permute(2, 0, 1).unsqueeze(0)
        with torch.inference_mode():
            seg = model.reasoner(image, [[sample.text]])
        logits, gmacs = self.draw(image, seg)
        height, width = sample.mask.shape
        probability = to_image_frame(logits, model.config.encoder.img_size, (height, width))[0]
        return (probability.sigmoid() > model.config.threshold).numpy(), gmacs


def table7(
    session: Session,
    source: BatchSource,
    config: TrainConfig,
    run: Path,
    split: Split,
    count: int,
    methods: Sequence[str] = tuple(BASELINES),
    options: Mapping[str, Any] | None = None,
) -> list[dict]:
    """Train the methods and VLTP, and evaluate them and the dense model on the same scenes.

    Args:
        session: on the CPU; its model has a trained dense half, and its pruned half is not used.
        source: training batches.
        config: the same for each method; for each of its rates there is a VLTP of its own, as
            there is one of each baseline for its rate.
        run: a directory with one run for each method, which resume.
        split: of the scenes to evaluate on.
        count: number of scenes.
        methods: keys of BASELINES.
        options: as for :func:`fit`, for all runs.

    Returns:
        Rows of ``{"method", "rate", "giou", "ciou", "gmacs", "count"}``. All but VLTP's rows also
        have ``vltp_rate``, ``vltp_gain`` and ``vltp_gain_error``: what VLTP's gIoU, at the rate
        next below in cost, has more than theirs, mean over the scenes and standard error; None
        where VLTP has no such rate.

    Raises:
        ValueError: for an unknown split, a count below 2, or as :func:`fit` for one of the runs.
    """
    if count < 2:
        raise ValueError(f"count is {count}; it must be at least 2, for a standard error")
    ways = _train_all(session, source, config, run, methods, options)
    metrics = {way: MaskMetrics() for way in ways}
    costs: dict[Way, list[float]] = {way: [] for way in ways}
    for number, sample in enumerate(progress_bar(rendered_samples(split, count), total=count)):
        for way, segment in ways.items():
            torch.manual_seed(number)  # for the random selection
            mask, gmacs = segment(sample)
            metrics[way].add(mask, sample.mask)
            costs[way].append(gmacs)
    means = {way: float(np.mean(gmacs)) for way, gmacs in costs.items()}
    return [
        {
            "method": way[0],
            "rate": way[1],
            "giou": metrics[way].giou,
            "ciou": metrics[way].ciou,
            "gmacs": means[way],
            "count": count,
        }
        | ({} if way[0] == "VLTP" else vltp_gain(way, metrics, means))
        for way in ways
    ]


def _train_all(
    session: Session,
    source: BatchSource,
    config: TrainConfig,
    run: Path,
    methods: Sequence[str],
    options: Mapping[str, Any] | None,
) -> dict[Way, Segment]:
    """Train the methods and VLTP at its rates; return what each and the dense model segment with.

    Arguments are those of :func:`table7`.
    """
    ways = {("dense", 0.0): _segment_with(session, 0.0)}
    for name in methods:
        stage = train_baseline(name, session.model, source, config, run / name, options)
        ways[name, BASELINES[name][1]] = stage.segment
    for rate in config.rates:
        own = run / f"VLTP {rate:g}"
        model = _train_pruned(session.model, source, config, rate, own, options)
        ways["VLTP", rate] = _segment_with(Session(model, session.device), rate)
    return ways


def _segment_with(session: Session, rate: float) -> Segment:
    """Return what segments a sample with a session at one rate; 0 prunes nothing."""
    settings = InferenceSettings(rates=(rate,), adaptive=False, selector="prune_decoder")
    session.configure(settings)
    stages = session.settings.prune_after if rate else ()
    gmacs = model_gmacs(session.model.config, stages, (rate,) * len(stages))["gmacs"]
    return lambda sample: (session.segment(sample.image, [sample.text])[0].mask, gmacs)


def vltp_gain(way: Way, metrics: dict[Way, MaskMetrics], gmacs: dict[Way, float]) -> dict:
    """Return ``vltp_rate``, ``vltp_gain`` and ``vltp_gain_error`` of a row, see :func:`table7`.

    Args:
        way: which of ``metrics``.
        metrics: of all ways, on the same scenes.
        gmacs: mean cost of each way.
    """
    rivals = [rival for rival in gmacs if rival[0] == "VLTP" and gmacs[rival] <= gmacs[way]]
    if not rivals:
        return dict.fromkeys(("vltp_rate", "vltp_gain", "vltp_gain_error"))
    rival = max(rivals, key=gmacs.__getitem__)
    gain = np.subtract(metrics[rival].ious, metrics[way].ious)
    error = gain.std(ddof=1) / len(gain) ** 0.5
    return {
        "vltp_rate": rival[1],
        "vltp_gain": float(gain.mean()),
        "vltp_gain_error": float(error),
    }


def _train_pruned(
    model: Vltp,
    source: BatchSource,
    config: TrainConfig,
    rate: float,
    run: Path,
    options: Mapping[str, Any] | None,
) -> Vltp:
    """Return a copy of the model with a pruned half that is trained from the start for a rate."""
    config = replace(config, rates=(rate,))
    torch.manual_seed(config.seed)
    model = copy.deepcopy(model)
    model.prune_decoder = None
    model.inherit()
    fit(PrunedStage(model, config).train(), source, config, run, options)
    return model.eval()


def train_baseline(
    name: str,
    model: Vltp,
    source: Source,
    config: TrainConfig,
    run: Path,
    options: Mapping[str, Any] | None = None,
) -> BaselineStage:
    """Train and calibrate one of BASELINES at the rate that it has there, not those of ``config``.

    Errors are those of :func:`fit`.
    """
    method, rate = BASELINES[name]
    config = replace(config, rates=(rate,))
    torch.manual_seed(config.seed)
    encoder = model.encoder(model.config.pruning.prune_after)
    device = model.pixel_mean.device
    stage = BaselineStage(model, method(encoder, source.classes, rate)).to(device)
    fit(stage.train(), source, config, run, options)
    steps = range(CALIBRATION_BATCHES)
    batches = [part.images.to(device) for step in steps for part in source.parts(step)]
    stage.eval().baseline.calibrate(torch.cat([model.preprocess(images) for images in batches]))
    return stage

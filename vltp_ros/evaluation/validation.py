"""Accuracy of a model that is being trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vltp_ros.data.expressions import ExpressionImages
from vltp_ros.data.scenes import TabletopDataset
from vltp_ros.evaluation.metrics import MaskMetrics
from vltp_ros.network.csp import CspConfig
from vltp_ros.network.run import eager
from vltp_ros.network.token_selection import fixed_budget
from vltp_ros.network.vltp import Vltp
from vltp_ros.runtime.masks import finish_masks


def scenes_giou(
    model: Vltp,
    data: TabletopDataset,
    count: int,
    rate: float = 0.0,
    csp: CspConfig | None = None,
    **reactivation: bool,
) -> float:
    """Return a model's gIoU, 0..1, on all questions about stored scenes.

    A session would change the weights' type; this leaves the model as it is.

    Args:
        model: on any device, in evaluation mode.
        data: scenes of either edition.
        count: number of scenes, the first ones.
        rate: share of tokens frozen at each of the model's stages; 0 prunes nothing.
        csp: which image tokens LLaVA's layers process; None: all.
        **reactivation: ``returns`` and ``merges`` of PrunedSam.encode.
    """
    metrics = MaskMetrics()
    for index in range(count):
        scene = data[index]
        answers = _answers(model, scene.image, scene.texts, rate, csp, **reactivation)
        for answered, query in zip(answers, scene.queries, strict=True):
            metrics.add(answered, scene.mask(query))
    return metrics.giou


def expressions_giou(
    model: Vltp,
    data: ExpressionImages,
    count: int,
    rate: float = 0.0,
    csp: CspConfig | None = None,
    **reactivation: bool,
) -> float:
    """Return a model's gIoU, 0..1, on public data, as :func:`scenes_giou` does on scenes.

    Args:
        model: on any device, in evaluation mode.
        data: images with expressions.
        count: number of images, spread evenly, of which each has one expression asked.
        rate: share of tokens frozen at each of the model's stages; 0 prunes nothing.
        csp: which image tokens LLaVA's layers process; None: all.
        **reactivation: ``returns`` and ``merges`` of PrunedSam.encode.
    """
    metrics = MaskMetrics()
    for number in range(count):
        index, image = data.readable(number * len(data) // count)
        asked = index % len(image.entries)
        (answered,) = _answers(model, image.image, [image.texts[asked]], rate, csp, **reactivation)
        metrics.add(answered, *image.draw(asked))
    return metrics.giou


@torch.no_grad()
def _answers(
    model: Vltp,
    image: np.ndarray,
    texts: Sequence[str],
    rate: float,
    csp: CspConfig | None,
    **reactivation: bool,
) -> list[np.ndarray]:
    """Return a mask, bool [H, W], for each text about an image, uint8 [H, W, 3]."""
    device = model.pixel_mean.device
    stages = model.config.pruning.prune_after if rate else ()
    pixels = torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0).to(device)
    segs = model.reasoner(pixels, [list(texts)], csp)
    tokens = model.stem(model.preprocess(pixels), stages).expand(len(segs), -1, -1)
    budget = fixed_budget([rate] * len(stages))
    encoded = model.encode(tokens, stages, budget, model.score(segs), **reactivation)
    logits = model.draw(encoded, segs)
    side, size = model.config.encoder.img_size, (image.shape[0], image.shape[1])
    masks = finish_masks(eager, logits, side, size, model.config.threshold)
    if logits.is_cuda:  # what comes down is there once the queue has got so far
        torch.cuda.synchronize(device)
    return [masks.mask(number) for number in range(len(texts))]

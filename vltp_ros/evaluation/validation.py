"""Accuracy of a model that is being trained."""

from __future__ import annotations

import torch

from vltp_ros.data.scenes import TabletopDataset
from vltp_ros.evaluation.metrics import MaskMetrics
from vltp_ros.network.run import eager
from vltp_ros.network.token_selection import fixed_budget
from vltp_ros.network.vltp import Vltp
from vltp_ros.runtime.masks import finish_masks


@torch.no_grad()
def scenes_giou(model: Vltp, data: TabletopDataset, count: int, rate: float = 0.0) -> float:
    """Return a model's gIoU, 0..1, on all questions about stored scenes.

    A session would change the weights' type; this leaves the model as it is.

    Args:
        model: on any device, in evaluation mode.
        data: scenes of either edition.
        count: number of scenes, the first ones.
        rate: share of tokens frozen at each of the model's stages; 0 prunes nothing.
    """
    metrics, device = MaskMetrics(), model.pixel_mean.device
    stages = model.config.pruning.prune_after if rate else ()
    for index in range(count):
        scene = data[index]
        pixels = torch.from_numpy(scene.image).permute(2, 0, 1).unsqueeze(0).to(device)
        segs = model.reasoner(pixels, [[query["text"] for query in scene.queries]])
        tokens = model.stem(model.preprocess(pixels), stages).expand(len(segs), -1, -1)
        budget = fixed_budget([rate] * len(stages))
        logits = model.draw(model.encode(tokens, stages, budget, model.score(segs)), segs)
        side, size = model.config.encoder.img_size, (scene.labels.shape[0], scene.labels.shape[1])
        masks = finish_masks(eager, logits, side, size, model.config.threshold)
        if logits.is_cuda:  # what comes down is there once the queue has got so far
            torch.cuda.synchronize(device)
        for number, query in enumerate(scene.queries):
            metrics.add(masks.mask(number), scene.mask(query))
    return metrics.giou

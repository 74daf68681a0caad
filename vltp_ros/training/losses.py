"""The losses of VLTP (Eq. 12-14)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BCE_WEIGHT = 2.0
DICE_WEIGHT = 0.5
"""Of the authors' code, which has them from LISA; the paper names none."""

SMOOTHING = 1.0
"""Pixels added to both terms of the Dice coefficient: an empty target asks for an empty prediction.
LISA's code, and so the authors', divides sums of pixels by 1000 and adds 1e-6: of an empty target
it has no gradient to speak of.
"""


def dice_loss(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return 1 - Dice coefficient on sigmoids, mean over the batch.

    Args:
        logits: [B, ...].
        target: of the same shape, 0..1.
        weight: of the same shape, 0..1, how much each pixel counts; None: all count.
    """
    probability, target = logits.sigmoid().flatten(1), target.flatten(1)
    if weight is not None:
        probability, target = probability * weight.flatten(1), target * weight.flatten(1)
    overlap = 2 * (logits.sigmoid().flatten(1) * target).sum(1)
    total = probability.sum(1) + target.sum(1)
    return (1 - (overlap + SMOOTHING) / (total + SMOOTHING)).mean()


def mask_loss(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return weighted BCE + Dice: L_X on mask pixels, L_P on the scores of image patches.

    Arguments are those of :func:`dice_loss`.
    """
    logits = logits.float()
    bce = F.binary_cross_entropy_with_logits(logits, target, weight)
    if weight is not None:  # the mean over what counts
        bce = bce / weight.mean().clamp(min=1e-6)
    return BCE_WEIGHT * bce + DICE_WEIGHT * dice_loss(logits, target, weight)


def pruning_loss(scores: tuple[Tensor, ...], patches: Tensor) -> Tensor:
    """Return L_P, on soft scores, mean over the prune decoder's calls.

    Args:
        scores: per stage, logits [B, N].
        patches: float [B, N], 1 where the patch holds a positive pixel (Eq. 13-14).
    """
    return torch.stack([mask_loss(stage, patches) for stage in scores]).mean()


def attention_loss(attention: Tensor, share: Tensor) -> Tensor:
    """Return the cross-entropy of attention over image tokens against where the targets are.

    Args:
        attention: [B, g, g], to each image token; of each row only the distribution matters.
        share: [B, g, g], how much of each token's patch is target; rows without any do not count.
    """
    nonempty = share.flatten(1).sum(1) > 0
    if not nonempty.any():
        return attention.sum() * 0
    predicted, target = (
        x.flatten(1)[nonempty] / x.flatten(1)[nonempty].sum(1, True) for x in (attention, share)
    )
    return -(target * predicted.clamp(min=1e-6).log()).sum(1).mean()

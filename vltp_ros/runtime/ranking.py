"""How a session's settings choose image tokens: what ranks them, and how many are kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vltp_ros.network.config import ModelConfig
from vltp_ros.network.preprocessing import from_llava_frame, to_square_frame
from vltp_ros.network.sam import Encoded
from vltp_ros.network.token_selection import (
    Budget,
    Score,
    adaptive_budget,
    fixed_budget,
    map_scores,
    spread,
    with_prior,
)
from vltp_ros.network.vltp import Vltp
from vltp_ros.runtime.reuse import CachedSeg
from vltp_ros.runtime.settings import ResolvedSettings
from vltp_ros.runtime.transfer import upload


def encode_as(
    settings: ResolvedSettings, model: Vltp, tokens: Tensor, stages: tuple[int, ...], score: Score
) -> Encoded:
    """Finish the encoding of tokens [T, N, C] as the settings say.

    Args:
        settings: of the session.
        model: whose encoder is used.
        tokens: before the first stage.
        stages: 1-based layers; () where the settings prune nothing.
        score: ranks the tokens.
    """
    budget, returns = _budget_of(settings, model.config), settings.returns
    return model.encode(tokens, stages, budget, score, returns=returns, merges=settings.merges)


def _budget_of(settings: ResolvedSettings, config: ModelConfig) -> Budget:
    """Return how many tokens each stage keeps."""
    pruning = config.pruning
    if settings.adaptive:
        return adaptive_budget(pruning.shares, pruning.relevance, pruning.multiple)
    return fixed_budget(settings.rates, pruning.multiple)


def score_of(
    settings: ResolvedSettings,
    model: Vltp,
    segs: Sequence[CachedSeg],
    seg: Tensor,
    size: tuple[int, int],
) -> Score:
    """Return the ranking of the tokens of an image by the settings' selector.

    Args:
        settings: of the session.
        model: whose prune decoder ranks, if that is the selector.
        segs: one for each of T tasks, with LLaVA's attention if that is the selector.
        seg: their embeddings [T, 1, 256].
        size: of the image, rows and columns, pixels.
    """
    if settings.selector == "prune_decoder":
        return model.score(seg)
    encoder = model.config.encoder
    attention = spread(torch.cat([_attention(cached) for cached in segs]))
    attention = from_llava_frame(attention, size, model.reasoner.framing)
    scores = map_scores(attention, size, encoder.img_size, encoder.grid)
    return lambda stage, tokens: scores


def with_last_masks(score: Score, masks: np.ndarray, shape: tuple, model: Vltp) -> Score:
    """Rank tokens of the last masks [T, H, W] higher; ValueError for another form than ``shape``.

    See :func:`vltp_ros.network.token_selection.with_prior`.
    """
    if masks.shape != shape or masks.dtype != bool:
        raise ValueError(f"prior is {masks.dtype} {masks.shape}; allowed: bool {shape}")
    config = model.config
    device = model.pixel_mean.device
    square = to_square_frame(upload(masks, device), config.encoder.img_size)
    grid = (config.encoder.grid, config.encoder.grid)
    return with_prior(score, square, grid, config.pruning.hysteresis)


def _attention(cached: CachedSeg) -> Tensor:
    """Return LLaVA's attention [1, g, g]; RuntimeError if LLaVA ran without returning it."""
    if cached.attention is None:
        raise RuntimeError("LLaVA has run without returning its attention")
    return cached.attention

"""From scores to the tokens that a stage keeps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SELECTORS = ("prune_decoder", "random", "oracle", "keep_all")

Score = Callable[[int, Tensor], Tensor]
"""(stage, tokens [B, N, C]) -> scores [B, N], the most relevant highest."""


def kept_count(count: int, rate: float) -> int:
    """Tokens kept of ``count`` at pruning ``rate``: floor((1 - rate) * count), at least 1.

    Eq. 11. The rounding guards against 0.7 * 10 being 6.999...

    Raises:
        ValueError: for a rate outside [0, 1).
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate is {rate}; it must be at least 0 and below 1")
    return max(1, int(round((1 - rate) * count, 6)))


def top_k(scores: Tensor, rate: float) -> Tensor:
    """Indices int64 [B, k] of the k best of scores [B, N], ascending.

    Raster order keeps memory access regular; the encoder does not depend on it.
    """
    return scores.topk(kept_count(scores.shape[1], rate), dim=1).indices.sort(dim=1).values


def random_scores(tokens: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Uniform scores [B, N]: the baseline that ignores image and task."""
    return torch.rand(tokens.shape[:2], generator=generator).to(tokens.device)


def oracle_scores(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """1 for each patch that holds a positive pixel, else 0 (the labels of Eq. 13-14).

    Args:
        mask: [B, H, W], non-zero where positive, in the encoder's square input frame.
        grid: rows and columns of patches.

    Returns:
        float [B, rows * columns].
    """
    pooled = torch.nn.functional.adaptive_max_pool2d((mask > 0).float().unsqueeze(1), grid)
    return pooled.flatten(1)

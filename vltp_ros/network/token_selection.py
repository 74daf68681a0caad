"""Which tokens a stage keeps: a score ranks them, a budget says how many."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vltp_ros.network.preprocessing import valid_grid

SELECTORS = ("prune_decoder", "adaptive", "random", "oracle", "attention", "keep_all")

Score = Callable[[int, Tensor], Tensor]
"""(stage, tokens [B, N, C]) -> scores [B, N], the most relevant highest: which tokens to keep."""

Budget = Callable[[int, Tensor], int]
"""(stage, scores [B, N]) -> how many tokens of each row to keep."""


def kept_count(count: int, rate: float) -> int:
    """Return how many of ``count`` tokens a pruning ``rate`` keeps (Eq. 11).

    They are floor((1 - rate) * count), at least 1.
    The rounding guards against 0.7 * 10 being 6.999...

    Raises:
        ValueError: for a rate outside [0, 1).
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate is {rate}; it must be at least 0 and below 1")
    return max(1, int(round((1 - rate) * count, 6)))


def top_k(scores: Tensor, count: int) -> Tensor:
    """Return the indices, int64 [B, count], of the best of scores [B, N], ascending.

    Raster order keeps memory access regular; the encoder does not depend on it.
    """
    return scores.topk(count, dim=1).indices.sort(dim=1).values


def fixed_budget(rates: Sequence[float], multiple: int = 1) -> Budget:
    """Return the paper's budget: the same share of tokens for every image.

    Args:
        rates: share of tokens frozen at each stage.
        multiple: counts are rounded up to one of this, which a GPU's kernels may prefer.
    """

    def budget(stage: int, scores: Tensor) -> int:
        total = scores.shape[1]
        return _rounded_up(kept_count(total, rates[stage]), multiple, total)

    return budget


def adaptive_budget(shares: Sequence[float], threshold: float, multiple: int = 1) -> Budget:
    """Return a budget of the smallest share that holds every token above a threshold.

    A small object costs less, a large one is not cut. Shares are fixed so that each is one static
    shape; choosing among them waits for the scores.

    Args:
        shares: of the tokens, ascending, 0 < share <= 1; where even the last is too small for the
            tokens above the threshold, the best of them are kept.
        threshold: relevance, 0 < threshold < 1, of a token that must be kept.
        multiple: as for :func:`fixed_budget`.

    Raises:
        ValueError: for shares or a threshold outside their range.
    """
    shares = tuple(shares)
    if not shares or list(shares) != sorted(set(shares)) or shares[0] <= 0 or shares[-1] > 1:
        raise ValueError(f"shares is {shares}; it must ascend, above 0 and up to 1")
    if not 0 < threshold < 1:
        raise ValueError(f"threshold is {threshold}; it must be between 0 and 1, both excluded")
    least = math.log(threshold / (1 - threshold))

    def budget(stage: int, scores: Tensor) -> int:
        needed = int((scores > least).sum(1).max())
        total = scores.shape[1]
        counts = [_rounded_up(kept_count(total, 1 - share), multiple, total) for share in shares]
        return next((count for count in counts if count >= needed), counts[-1])

    return budget


def _rounded_up(count: int, multiple: int, most: int) -> int:
    """Round up to a multiple, but at most to ``most``."""
    return min(most, -(-count // multiple) * multiple)


def random_scores(tokens: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw uniform scores [B, N]: the baseline that ignores image and task."""
    return torch.rand(tokens.shape[:2], generator=generator).to(tokens.device)


def oracle_scores(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return 1 for each patch that holds a positive pixel, else 0 (the labels of Eq. 13-14).

    Args:
        mask: [B, H, W], non-zero where positive, in the encoder's square input frame.
        grid: rows and columns of patches.

    Returns:
        float [B, rows * columns].
    """
    pooled = F.adaptive_max_pool2d((mask > 0).float().unsqueeze(1), grid)
    return pooled.flatten(1)


def map_scores(relevance: Tensor, size: tuple[int, int], side: int, grid: int) -> Tensor:
    """Turn any map over the image into scores, as LLaVA's attention to guide the pruning.

    Args:
        relevance: float [B, h, w], on any grid that covers the image.
        size: of the image, rows and columns, pixels.
        side: of the encoder's square input, pixels.
        grid: patches along it.

    Returns:
        float [B, grid * grid], resampled; the padded area gets the lowest of all, so that it is
        kept last.
    """
    rows, columns = valid_grid(size, side, side // grid)
    resampled = F.interpolate(
        relevance.float().unsqueeze(1), (rows, columns), mode="bilinear", antialias=True
    )
    lowest = resampled.amin((1, 2, 3)).view(-1, 1, 1)
    scores = lowest.expand(-1, grid, grid).clone()
    scores[:, :rows, :columns] = resampled.squeeze(1)
    return scores.flatten(1)


def spread(relevance: Tensor) -> Tensor:
    """Average a coarse map [B, h, w] over each cell and its neighbours.

    Objects reach over the borders of LLaVA's patches, of which each is many of SAM's.
    """
    return F.avg_pool2d(
        F.pad(relevance.unsqueeze(1), (1, 1, 1, 1), mode="replicate"), 3, 1
    ).squeeze(1)


def with_prior(score: Score, masks: Tensor, grid: tuple[int, int], strength: float) -> Score:
    """Rank patches of the last mask, and those next to it, higher: hysteresis over time.

    Args:
        score: ranks the tokens of this image.
        masks: [B, H, W], the last masks in the encoder's square input frame.
        grid: rows and columns of patches.
        strength: added to the logits of the patches of the masks, grown by one patch around.
    """
    patches = oracle_scores(masks, grid).unflatten(1, grid)
    grown = F.max_pool2d(patches, 3, stride=1, padding=1).flatten(1)
    return lambda stage, tokens: score(stage, tokens) + strength * grown.to(tokens.device)

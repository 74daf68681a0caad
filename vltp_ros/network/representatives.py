"""The image tokens that stand for all in the first layers of the language model (LVLM_CSP)."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(tokens: int, count: int, device: torch.device | None = None) -> Tensor:
    """Return int64 [count], evenly spaced below ``tokens``: S[i] = i * floor(N / N_c)."""
    return torch.arange(count, device=device) * (tokens // count)


def random(tokens: int, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw int64 [count] below ``tokens`` without replacement, ascending."""
    return torch.randperm(tokens, generator=generator)[:count].sort().values


def seg_first(instances: Tensor, count: int) -> Tensor:
    """Choose tokens of every instance of a light segmenter, by area.

    Each instance gets max(1, floor(count * area / total area)) of its tokens, evenly spaced; what
    is left of ``count`` is filled up with evenly spaced others.

    Args:
        instances: int64 [N], the instance at each image token; 0 is background.
        count: tokens to choose.

    Returns:
        int64 [count], ascending.
    """
    names, areas = instances[instances > 0].unique(return_counts=True)
    chosen = torch.zeros(len(instances), dtype=torch.bool)
    order = areas.argsort(descending=True)  # where there are too many instances, the large ones
    for name, area in zip(names[order].tolist(), areas[order].tolist(), strict=True):
        share = max(1, count * area // int(areas.sum()))
        share = min(share, count - int(chosen.sum()))
        own = (instances == name).nonzero().flatten()
        chosen[own[_spread(len(own), share)]] = True
    others = (~chosen).nonzero().flatten()
    chosen[others[_spread(len(others), count - int(chosen.sum()))]] = True
    return chosen.nonzero().flatten()


def _spread(length: int, count: int) -> Tensor:
    """Return int64 [count], evenly spaced below ``length``."""
    return (torch.arange(count) * length).div(max(1, count), rounding_mode="floor")

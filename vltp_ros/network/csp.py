"""LVLM_CSP: which image tokens each layer of the language model processes, without any training.

*Clustering*: the first layers get a few representatives. *Scattering*: all image tokens are back.
*Pruning*: the last layers get only those that the read-out attends to most. The paper (arXiv
2504.10854) was read in its opening alone; spans, shares and presets are chosen here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from vltp_ros.settings import check, documented, setting

CSP_SELECTORS = ("uniform", "random", "cls", "instances")


@documented
@dataclass(frozen=True)
class CspConfig:
    """Which image tokens the layers of the language model process (LVLM_CSP).

    Shares of the layers and of the image tokens, so that a setting fits every size. Representatives
    are *chosen*, not averaged; tokens that were left out come back with the embedding that the
    projector gave them, and all keep their positions.
    """

    scatter_from: float = setting(
        0.25, "share of the layers before all image tokens are processed", low=0.0, high=1.0
    )
    prune_from: float = setting(
        0.5, "share of the layers before only the most attended are processed", low=0.0, high=1.0
    )
    clustered: float = setting(0.25, "share of the tokens processed at first", low=0.0, high=1.0)
    kept: float = setting(1 / 16, "share of the tokens processed at last", low=0.0, high=1.0)
    selector: str = setting(
        "uniform",
        "representatives: evenly spaced, drawn, the most attended by the vision tower's CLS token, "
        "or spread over given instances",
        choices=CSP_SELECTORS,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.scatter_from > self.prune_from:
            raise ValueError(
                f"CspConfig.scatter_from is {self.scatter_from}; it must be at most prune_from "
                f"{self.prune_from}"
            )


CSP_PRESETS = {"65": CspConfig(), "70": CspConfig(scatter_from=10 / 32)}
"""Percent of the image tokens' MACs saved at 7B -> setting, chosen here to save as much. The paper
reports 65 % without an accuracy loss, and 70 % with one of about a point, for its own spans."""

CspName = Literal["off", "65", "70"]
CSP_NAMES = get_args(CspName)


CspSelector = Literal["uniform", "random", "cls"]
CSP_SELECTORS_OF_IMAGES = get_args(CspSelector)
"""Those of CSP_SELECTORS that need no more than the image."""


def csp_config(name: str, selector: str = "uniform") -> CspConfig | None:
    """Return the setting of one of CSP_NAMES, None for "off"; ValueError for another name.

    Args:
        name: of a preset.
        selector: of the representatives.
    """
    if name not in CSP_NAMES:
        raise ValueError(f"csp is {name!r}; allowed: {', '.join(CSP_NAMES)}")
    return replace(CSP_PRESETS[name], selector=selector) if name in CSP_PRESETS else None


@dataclass(frozen=True)
class Spans:
    """A :class:`CspConfig` in layers and tokens of a certain model."""

    scatter_from: int  # 0-based: the first layer that processes all image tokens
    prune_from: int  # 0-based: the first layer that processes only the most attended
    clustered: int  # image tokens of the layers before ``scatter_from``
    kept: int  # image tokens of the layers from ``prune_from`` on

    def tokens_per_layer(self, layers: int, tokens: int) -> list[int]:
        """Return how many image tokens each layer processes."""
        scattering, pruning = self.prune_from - self.scatter_from, layers - self.prune_from
        return [
            *[self.clustered] * self.scatter_from,
            *[tokens] * scattering,
            *[self.kept] * pruning,
        ]


def spans(config: CspConfig, layers: int, tokens: int) -> Spans:
    """Return the spans of a model with so many decoder layers and image tokens.

    Shares are rounded, halves up; where tokens are pruned, at least one layer scatters, as its
    attention ranks them.

    Raises:
        ValueError: for a model of fewer than two layers.
    """
    if layers < 2:
        raise ValueError(f"the language model has {layers} layers; LVLM_CSP needs two or more")
    prune_from = min(max(_rounded(config.prune_from * layers), 1), layers)
    latest = prune_from - 1 if prune_from < layers else layers
    scatter_from = min(_rounded(config.scatter_from * layers), latest)
    return Spans(
        scatter_from,
        prune_from,
        clustered=max(1, _rounded(config.clustered * tokens)),
        kept=max(1, _rounded(config.kept * tokens)),
    )


def _rounded(value: float) -> int:
    """Round to the nearest integer, halves up."""
    return int(value + 0.5)


def image_token_gmacs(per_layer: Sequence[int], width: int, mlp: int) -> float:
    """Return the giga-MACs of the image tokens alone.

    They are 4 n d^2 + 2 n^2 d + 3 n d m for each layer.

    Args:
        per_layer: image tokens n that each layer processes.
        width: d of the language model.
        mlp: m, hidden width of its MLP.
    """
    return sum(4 * n * width**2 + 2 * n * n * width + 3 * n * width * mlp for n in per_layer) / 1e9

"""Multiply-accumulates, counted on the real modules.

PyTorch's counter sees every matrix product, convolution and fused attention that runs; it counts
two operations for each multiply-accumulate. The modules lie on the meta device, so nothing is
computed. Blocks of a kind cost the same over as many tokens: one of each is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from vltp_ros.network.attention import run_blocks
from vltp_ros.network.config import LLAVA_SIZES, ModelConfig, check_stages
from vltp_ros.network.csp import csp_config, image_token_gmacs, spans
from vltp_ros.network.prune_decoder import WIDTH
from vltp_ros.network.sam import PrunedSam
from vltp_ros.network.token_selection import kept_count
from vltp_ros.network.windows import TokenPositions

Answer = TypeVar("Answer")


def model_gmacs(config: ModelConfig, prune_after: Sequence[int], rates: Sequence[float]) -> dict:
    """Count the giga-MACs of one image and one task, what LLaVA costs left out.

    Args:
        config: sizes; its own stages and rates do not matter.
        prune_after: 1-based layers; () does not prune.
        rates: share of tokens frozen after each.

    Returns:
        ``gmacs`` (encoder and prune decoder), ``dense_gmacs``, ``prune_decoder_gmacs`` and
        ``mask_decoder_gmacs`` (of one call) and ``stages``: for the stem and each stage its first
        layer, tokens and GMACs.

    Raises:
        ValueError: for stages or rates that are not allowed.
    """
    bounds = (0, *prune_after, config.encoder.depth)
    check_stages(bounds[1:-1], tuple(rates))
    _sam(config).encoder(prune_after)  # refuses layers that are no stages
    total, others = config.encoder.grid**2, _count_others(config)
    kept = [kept_count(total, rate) for rate in rates]
    segments = [
        sum(_count_block(config, layer, count) for layer in range(first, last))
        for (first, last), count in zip(pairwise(bounds), (None, *kept), strict=True)
    ]
    segments[0] += others["patch_embed"]
    segments[-1] += others["neck"]
    dense = sum(_count_block(config, layer) for layer in range(config.encoder.depth))
    one_call = others["prune_decoder"] / 2e9
    return {
        "gmacs": sum(segments) / 2e9 + len(kept) * one_call,
        "dense_gmacs": (others["patch_embed"] + dense + others["neck"]) / 2e9,
        "prune_decoder_gmacs": one_call,
        "mask_decoder_gmacs": others["mask_decoder"] / 2e9,
        "stages": [
            {"first_layer": first + 1, "tokens": count, "gmacs": flops / 2e9}
            for first, count, flops in zip(bounds[:-1], (total, *kept), segments, strict=True)
        ],
    }


def image_token_cost(llava: str, csp: str) -> dict:
    """Count what LLaVA's language model spends on the image tokens of one image and one task.

    Args:
        llava: a key of LLAVA_SIZES.
        csp: one of CSP_NAMES.

    Returns:
        ``image_token_gmacs``, ``dense_image_token_gmacs``, ``image_token_reduction`` (0.65: 65 %
        less), ``tokens_per_layer`` and ``average_tokens``.
    """
    sizes, config = LLAVA_SIZES[llava], csp_config(csp)
    whole = [sizes.image_tokens] * sizes.layers
    per_layer = (
        spans(config, sizes.layers, sizes.image_tokens).tokens_per_layer(
            sizes.layers, sizes.image_tokens
        )
        if config
        else whole
    )
    cost, dense = (
        image_token_gmacs(tokens, sizes.width, sizes.mlp) for tokens in (per_layer, whole)
    )
    return {
        "image_token_gmacs": cost,
        "dense_image_token_gmacs": dense,
        "image_token_reduction": 1 - cost / dense,
        "tokens_per_layer": per_layer,
        "average_tokens": sum(per_layer) / len(per_layer),
    }


def count_gmacs(work: Callable[[], Answer]) -> tuple[Answer, float]:
    """Return what ``work`` returns, and the giga-MACs that it took."""
    with _counter() as counter:
        answer = work()
    return answer, counter.get_total_flops() / 2e9


@cache
def _sam(config: ModelConfig) -> PrunedSam:
    """Build SAM on the meta device, once for each size."""
    with torch.device("meta"):
        return PrunedSam(config).requires_grad_(False)


def _count_block(config: ModelConfig, layer: int, kept: int | None = None) -> int:
    """Count the operations of an encoder's block over all tokens, or over some of them."""
    return _count_kind(config, layer in config.encoder.global_attn_indexes, kept)


@cache
@torch.no_grad()
def _count_kind(config: ModelConfig, is_global: bool, kept: int | None) -> int:
    """Count one block for all of a kind, as they cost the same."""
    grid, width = config.encoder.grid, config.encoder.embed_dim
    block = next(b for b in _sam(config).image_encoder.blocks if is_global == (not b.window_size))
    with torch.device("meta"):
        tokens = torch.zeros(1, grid**2 if kept is None else kept, width)
        indices = None if kept is None else torch.zeros(1, kept, dtype=torch.int64)
    return _count(lambda: run_blocks([block], tokens, TokenPositions((grid, grid), indices)))


@cache
@torch.no_grad()
def _count_others(config: ModelConfig) -> dict[str, int]:
    """Count the operations of all parts beside the encoder's blocks, one call of each."""
    sam, side, grid = _sam(config), config.encoder.img_size, config.encoder.grid
    with torch.device("meta"):
        images = torch.zeros(1, 3, side, side)
        tokens = torch.zeros(1, grid**2, config.encoder.embed_dim)
        features = torch.zeros(1, WIDTH, grid, grid)
        seg = torch.zeros(1, 1, WIDTH)
    return {
        "patch_embed": _count(lambda: sam.image_encoder.patch_embed(images)),
        "neck": _count(lambda: sam.encoder(()).merge(tokens)),
        "prune_decoder": _count(lambda: sam.score(seg)(0, tokens)),
        "mask_decoder": _count(lambda: sam.decode(sam.mask_decoder, features, seg)),
    }


def _count(work: Callable[[], object]) -> int:
    """Return the operations that ``work`` takes, two for each multiply-accumulate."""
    with _counter() as counter:
        work()
    return counter.get_total_flops()


def _counter() -> FlopCounterMode:
    """Return PyTorch's counter, taught the CPU's fused attention, which it would count as free."""

    def attention(
        query: torch.Size, key: torch.Size, value: torch.Size, *args: object, **kwargs: object
    ) -> int:
        return sdpa_flop_count(query, key, value)

    operator = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(display=False, custom_mapping={operator: attention})

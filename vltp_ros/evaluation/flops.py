"""Multiply-accumulates, counted on the real modules.

PyTorch's counter sees every matrix product, convolution and fused attention that runs; it counts
two operations for each multiply-accumulate. The modules lie on the meta device, so nothing is
computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from vltp_ros.network.config import LLAVA_SIZES, ModelConfig, check_stages
from vltp_ros.network.csp import csp_config, image_token_gmacs, spans
from vltp_ros.network.prune_decoder import WIDTH
from vltp_ros.network.sam import PrunedSam
from vltp_ros.network.token_selection import kept_count

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
    check_stages(tuple(prune_after), tuple(rates))
    total, side = config.encoder.grid**2, config.encoder.img_size
    with torch.device("meta"):
        model = PrunedSam(config)
        images = torch.zeros(1, 3, side, side)
        tokens = torch.zeros(1, total, config.encoder.embed_dim)
        features = torch.zeros(1, WIDTH, config.encoder.grid, config.encoder.grid)
        seg = torch.zeros(1, 1, WIDTH)
    marks: list[int] = []

    def select(stage: int, tokens: torch.Tensor) -> torch.Tensor:
        marks.append(counter.get_total_flops())
        count = kept_count(total, rates[stage])
        return torch.zeros(1, count, dtype=torch.int64, device="meta")

    with _counter() as counter:
        model.encoder(prune_after)(images, select)
    marks.append(counter.get_total_flops())
    segments = [marks[0], *(b - a for a, b in pairwise(marks))]
    kept = [total, *(kept_count(total, rate) for rate in rates)]
    one_call = count_gmacs(lambda: model.score(seg)(0, tokens))[1]
    return {
        "gmacs": marks[-1] / 2e9 + len(prune_after) * one_call,
        "dense_gmacs": count_gmacs(lambda: model.encoder(())(images))[1],
        "prune_decoder_gmacs": one_call,
        "mask_decoder_gmacs": count_gmacs(lambda: model.decode(model.mask_decoder, features, seg))[
            1
        ],
        "stages": [
            {"first_layer": first + 1, "tokens": count, "gmacs": macs / 2e9}
            for first, count, macs in zip((0, *prune_after), kept, segments, strict=True)
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


def _counter() -> FlopCounterMode:
    """Return PyTorch's counter, taught the CPU's fused attention, which it would count as free."""

    def attention(
        query: torch.Size, key: torch.Size, value: torch.Size, *args: object, **kwargs: object
    ) -> int:
        return sdpa_flop_count(query, key, value)

    operator = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(display=False, custom_mapping={operator: attention})

"""Multiply-accumulates, counted on the real modules.

PyTorch's counter sees every matrix product, convolution and fused attention that runs; it counts
two operations for each multiply-accumulate. The modules lie on the meta device, so nothing is
computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from vltp_ros.config import EncoderConfig, PruneDecoderConfig, check_stages
from vltp_ros.network.encoder import PrunedImageEncoder
from vltp_ros.network.prune_decoder import WIDTH, PruneDecoder
from vltp_ros.network.token_selection import kept_count
from vltp_ros.network.vltp import build_image_encoder


def encoder_gmacs(
    encoder: EncoderConfig,
    prune_decoder: PruneDecoderConfig,
    prune_after: Sequence[int],
    rates: Sequence[float],
) -> dict:
    """Giga-MACs of one image and one task.

    Returns:
        ``gmacs`` (encoder and prune decoder), ``dense_gmacs``, ``prune_decoder_gmacs`` (of one
        call) and ``stages``: for the stem and each stage its first layer, tokens and GMACs.

    Raises:
        ValueError: for stages or rates that are not allowed.
    """
    check_stages(tuple(prune_after), tuple(rates))
    with torch.device("meta"):
        image_encoder = build_image_encoder(encoder)
        scorer = PruneDecoder(encoder.embed_dim, prune_decoder)
        images = torch.zeros(1, 3, encoder.img_size, encoder.img_size)
        seg = torch.zeros(1, 1, WIDTH)
    grid = (encoder.grid, encoder.grid)
    pruned, dense = (PrunedImageEncoder(image_encoder, p) for p in (prune_after, ()))
    marks: list[int] = []

    def select(stage: int, tokens: torch.Tensor) -> torch.Tensor:
        marks.append(counter.get_total_flops())
        keep = kept_count(tokens.shape[1], rates[stage])
        return torch.zeros(1, keep, dtype=torch.int64, device="meta")

    with _counter() as counter:
        pruned(images, select)
    marks.append(counter.get_total_flops())
    segments = [marks[0], *(b - a for a, b in pairwise(marks))]
    one_call = _count(
        lambda: scorer(torch.zeros(1, encoder.grid**2, encoder.embed_dim, device="meta"), seg, grid)
    )
    tokens = [encoder.grid**2, *(kept_count(encoder.grid**2, rate) for rate in rates)]
    stages = [
        {"first_layer": first + 1, "tokens": count, "gmacs": macs / 2e9}
        for first, count, macs in zip((0, *prune_after), tokens, segments, strict=True)
    ]
    return {
        "gmacs": marks[-1] / 2e9 + len(prune_after) * one_call,
        "dense_gmacs": _count(lambda: dense(images)),
        "prune_decoder_gmacs": one_call,
        "stages": stages,
    }


def _count(run) -> float:
    with _counter() as counter:
        run()
    return counter.get_total_flops() / 2e9


def _counter() -> FlopCounterMode:
    """The counter, with a formula for the CPU's fused attention, which it would count as free."""

    def attention(q, k, v, *args, out_shape=None, **kwargs) -> int:
        return sdpa_flop_count(q, k, v)

    operator = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(display=False, custom_mapping={operator: attention})

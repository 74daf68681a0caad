"""LLaMA's element-wise steps: rotary positions and the gate of the MLP."""

from __future__ import annotations

import torch
from torch import Tensor

from vltp_ros.kernels.language import jit, power_of_two, tl

WARPS = (4, 8)
"""Warps of a program; which is faster, the GPU decides."""

GATE_BLOCK = 2048
"""Elements of one program."""


def rotate(heads: Tensor, angles: Tensor, warps: int) -> Tensor:
    """Rotate queries or keys to their positions.

    Args:
        heads: [n, heads * d]; its rows may lie apart.
        angles: [n, 2 d], cosines and sines of each position.
        warps: for each token.
    """
    heads, angles = heads if heads.stride(1) == 1 else heads.contiguous(), angles.contiguous()
    width = angles.shape[1] // 2
    count = heads.shape[1] // width
    rotated = heads.new_empty(heads.shape)
    _rotate[(len(heads),)](
        heads,
        angles,
        rotated,
        heads.stride(0),
        count=count,
        count_block=power_of_two(count),
        half=width // 2,
        half_block=power_of_two(width // 2),
        num_warps=warps,
    )
    return rotated


def gate(gates: Tensor, values: Tensor, warps: int) -> Tensor:
    """Return silu(gates) * values; all have one shape and type."""
    gates, values = gates.contiguous(), values.contiguous()
    out, count = torch.empty_like(values), values.numel()
    _gate[(-(-count // GATE_BLOCK),)](gates, values, out, count, block=GATE_BLOCK, num_warps=warps)
    return out


@jit()
def _rotate(
    heads: tl.tensor,
    angles: tl.tensor,
    rotated: tl.tensor,
    stride: int,
    count: tl.constexpr,
    count_block: tl.constexpr,
    half: tl.constexpr,
    half_block: tl.constexpr,
) -> None:
    """Rotate all heads of one token: (a, b) becomes (a cos - b sin, b cos + a sin)."""
    token = tl.program_id(0).to(tl.int64)
    head = tl.arange(0, count_block)[:, None]
    column = tl.arange(0, half_block)[None, :]
    inside = column < half
    mask = (head < count) & inside
    angles += token * 4 * half + column
    cosine = tl.load(angles, mask=inside, other=0.0).to(tl.float32)
    sine = tl.load(angles + 2 * half, mask=inside, other=0.0).to(tl.float32)
    heads += token * stride + head * 2 * half + column
    a = tl.load(heads, mask=mask, other=0.0).to(tl.float32)
    b = tl.load(heads + half, mask=mask, other=0.0).to(tl.float32)
    place = (token * count + head) * 2 * half + column
    tl.store(rotated + place, a * cosine - b * sine, mask=mask)
    tl.store(rotated + place + half, b * cosine + a * sine, mask=mask)


@jit("count")
def _gate(
    gates: tl.tensor, values: tl.tensor, out: tl.tensor, count: int, block: tl.constexpr
) -> None:
    """Gate some elements, in float32."""
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = place < count
    x = tl.load(gates + place, mask=inside, other=0.0).to(tl.float32)
    value = tl.load(values + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + place, x / (1.0 + tl.exp(-x)) * value, mask=inside)

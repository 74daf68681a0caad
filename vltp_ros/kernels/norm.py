"""Residual sum and normalisation in one pass over the rows."""

from __future__ import annotations

import torch
from torch import Tensor

from vltp_ros.kernels.language import jit, power_of_two, tl

WARPS = (4, 8)
"""Warps for each row; which is faster, the GPU decides."""


def add_and_normalize(
    states: Tensor,
    update: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    epsilon: float,
    warps: int,
) -> tuple[Tensor, Tensor]:
    """Return states + update, and that normalised, both in the type of the sum.

    Args:
        states: [..., C].
        update: [..., C]; None: nothing is added.
        weight: [C].
        bias: [C] of layer norm; None: root mean square norm, which has none.
        epsilon: added to the variance.
        warps: for each row.
    """
    dtype = states.dtype if update is None else torch.promote_types(states.dtype, update.dtype)
    width = states.shape[-1]
    states = states.contiguous()
    total = states if update is None else torch.empty_like(states, dtype=dtype)
    normed = torch.empty_like(states, dtype=dtype)
    _add_and_normalize[(states.numel() // width,)](
        states,
        states if update is None else update.contiguous(),
        weight,
        weight if bias is None else bias,
        total,
        normed,
        epsilon,
        width=width,
        block=power_of_two(width),
        adds=update is not None,
        centered=bias is not None,
        num_warps=warps,
    )
    return total, normed


@jit()
def _add_and_normalize(
    states: tl.tensor,
    update: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    total: tl.tensor,
    normed: tl.tensor,
    epsilon: float,
    width: tl.constexpr,
    block: tl.constexpr,
    adds: tl.constexpr,
    centered: tl.constexpr,
) -> None:
    """Add and normalise one row; sums are float32."""
    column = tl.arange(0, block)
    inside = column < width
    place = tl.program_id(0).to(tl.int64) * width + column
    row = tl.load(states + place, mask=inside, other=0.0).to(tl.float32)
    if adds:
        row += tl.load(update + place, mask=inside, other=0.0).to(tl.float32)
        # What is normalised is what the next layers see, rounded.
        row = row.to(total.dtype.element_ty)
        tl.store(total + place, row, mask=inside)
        row = row.to(tl.float32)
    if centered:
        row = tl.where(inside, row - tl.sum(row, 0) / width, 0.0)
    row *= 1.0 / tl.sqrt(tl.sum(row * row, 0) / width + epsilon)
    row *= tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    if centered:
        row += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(normed + place, row, mask=inside)

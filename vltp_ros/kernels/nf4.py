"""Weights of 4 bits, unpacked in one pass: the scales of their blocks are unpacked on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vltp_ros.kernels.language import jit, tl

BLOCK = 64
"""Weights that share a scale."""

SCALES = 256
"""Scales that share a scale."""

WARPS = (4, 8)
"""Warps of a program; which is faster, the GPU decides."""

PROGRAM = 64
"""Blocks of one program."""


class Packed(NamedTuple):
    """A matrix [n, k] as bitsandbytes packs it, k a multiple of BLOCK (QLoRA, Section 3)."""

    shape: tuple[int, int]
    dtype: torch.dtype  # of the weights
    codes: Tensor  # uint8 [n * k / 2, 1], two weights each, the first one above
    values: Tensor  # float32 [16], what a code stands for, times its block's scale
    scales: Tensor  # uint8 [n * k / BLOCK]
    scale_values: Tensor  # float32 [256], what a scale stands for, times that of its block
    scale_scales: Tensor  # float32
    offset: Tensor  # float32 [], added to all scales

    @classmethod
    def of(cls, weight: Any) -> Packed | None:
        """Return what bitsandbytes keeps of a weight; None where it packs in another way."""
        state = getattr(weight, "quant_state", None)
        if state is None or state.quant_type != "nf4" or not state.nested:
            return None
        if (state.blocksize, state.state2.blocksize) != (BLOCK, SCALES) or state.shape[1] % BLOCK:
            return None
        return cls(
            tuple(state.shape),
            state.dtype,
            weight.data,
            state.code,
            state.absmax,
            state.state2.code,
            state.state2.absmax,
            state.offset,
        )


def unpack(matrices: Sequence[Packed], warps: int) -> Tensor:
    """Return the weights of matrices [n, k] below each other, [sum of n, k]; k and type are one."""
    rows, width = [matrix.shape[0] for matrix in matrices], matrices[0].shape[1]
    out = matrices[0].codes.new_empty(sum(rows), width, dtype=matrices[0].dtype)
    for matrix, part in zip(matrices, out.split(rows), strict=True):
        blocks = part.numel() // BLOCK
        _unpack[(-(-blocks // PROGRAM),)](
            matrix.codes,
            matrix.values,
            matrix.scales,
            matrix.scale_values,
            matrix.scale_scales,
            matrix.offset,
            part,
            blocks,
            program=PROGRAM,
            half=BLOCK // 2,
            shared=SCALES,
            num_warps=warps,
        )
    return out


@jit("count")
def _unpack(
    codes: tl.tensor, values: tl.tensor, scales: tl.tensor, scale_values: tl.tensor,
    scale_scales: tl.tensor, offset: tl.tensor, out: tl.tensor, count: int,
    program: tl.constexpr, half: tl.constexpr, shared: tl.constexpr,
) -> None:  # fmt: skip
    """Unpack some of ``count`` blocks."""
    block = tl.program_id(0) * program + tl.arange(0, program)
    inside = block < count
    scale = tl.load(scales + block, mask=inside, other=0).to(tl.int32)
    scale = tl.load(scale_values + scale)
    scale *= tl.load(scale_scales + block // shared, mask=inside, other=0.0)
    scale += tl.load(offset)
    place = block[:, None] * half + tl.arange(0, half)[None, :]
    code = tl.load(codes + place, mask=inside[:, None], other=0).to(tl.int32)
    above = tl.load(values + (code >> 4)) * scale[:, None]
    below = tl.load(values + (code & 15)) * scale[:, None]
    weight = tl.interleave(above, below)
    place = block[:, None] * 2 * half + tl.arange(0, 2 * half)[None, :]
    tl.store(out + place, weight, mask=inside[:, None])

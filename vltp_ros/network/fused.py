"""What has a Triton kernel: the one place where the network asks for one.

Each function takes PyTorch's way on every device but an NVIDIA GPU, and there the way that was
measured to be faster (:class:`vltp_ros.kernels.choice.KernelChoice`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import MLPBlock
from segment_anything.modeling.image_encoder import Attention
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm, rotate_half

from vltp_ros.kernels import llama, nf4
from vltp_ros.kernels.attention import (
    GLOBAL_TILINGS,
    WINDOW_TILINGS,
    Tiling,
    WindowTokens,
    relative_attention,
)
from vltp_ros.kernels.choice import KERNELS
from vltp_ros.kernels.norm import WARPS, add_and_normalize


class Windows(NamedTuple):
    """Which tokens attend to each other."""

    grid: tuple[int, int]  # rows and columns of all tokens
    size: int  # rows and columns of a window; 0: global attention
    pruned: bool  # whether some tokens are missing


def attend(
    attn: Attention,
    qkv: Tensor,
    windows: Windows,
    plain: Callable[[], Tensor],
    lists: Callable[[], WindowTokens],
) -> Tensor:
    """Return SAM's attention [B, n, C], before the projection.

    Args:
        attn: SAM's module.
        qkv: queries, keys and values, [B, n, 3 C].
        windows: among which the tokens attend to each other.
        plain: PyTorch's way.
        lists: returns the tokens in each window.
    """

    def kernel(tiling: Tiling) -> Tensor:
        tables = (attn.rel_pos_h, attn.rel_pos_w)
        return relative_attention(qkv, attn.qkv.bias, tables, attn.num_heads, lists(), tiling)

    name, tilings = "window attention", WINDOW_TILINGS
    if not windows.size:
        name, tilings = "global attention", GLOBAL_TILINGS
    return KERNELS.run(name, (attn.num_heads, windows), qkv, plain, kernel, tilings)


def add_and_norm(
    norm: nn.LayerNorm | LlamaRMSNorm, states: Tensor, update: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return states + update, [..., C] each, and that normalised."""

    def plain() -> tuple[Tensor, Tensor]:
        total = states if update is None else states + update
        return total, norm(total)

    def kernel(warps: int) -> tuple[Tensor, Tensor]:
        if isinstance(norm, nn.LayerNorm):
            return add_and_normalize(states, update, norm.weight, norm.bias, norm.eps, warps)
        epsilon = norm.variance_epsilon
        return add_and_normalize(states, update, norm.weight, None, epsilon, warps)

    sizes = (type(norm).__name__, update is not None)
    return KERNELS.run("residual and norm", sizes, states, plain, kernel, WARPS)


def run_gelu_mlp(mlp: MLPBlock, tokens: Tensor) -> Tensor:
    """Run the MLP of SAM's blocks over [..., C]."""

    def kernel(tanh: bool) -> Tensor:
        # In the product itself, in its approximation by tanh, which 16 bits do not tell apart.
        rows = tokens.flatten(0, -2)
        hidden = torch._addmm_activation(mlp.lin1.bias, rows, mlp.lin1.weight.T, use_gelu=tanh)
        return mlp.lin2(hidden).view(*tokens.shape[:-1], -1)

    options = (True,) if isinstance(mlp.act, nn.GELU) else ()
    return KERNELS.run("GELU", (), tokens, lambda: mlp(tokens), kernel, options)


def lay_side_by_side(linears: Sequence[nn.Linear]) -> None:
    """Move weights on a GPU, where they can be, so that :func:`project` has one product for all."""
    movable = all(_is_plain(linear) and linear.weight.is_cuda for linear in linears)
    if not movable or _side_by_side(linears) is not None:
        return
    whole = torch.cat([linear.weight.data for linear in linears])
    rows = [len(linear.weight) for linear in linears]
    for linear, part in zip(linears, whole.split(rows), strict=True):
        linear.weight.data = part


def project(linears: Sequence[nn.Linear], states: Tensor) -> tuple[Tensor, ...]:
    """Run linear layers over the same states [n, D]; rows of what they return may lie apart.

    Weights that lie side by side, or are packed in 4 bits and unpacked into one matrix, are one
    product: a small one alone leaves much of a GPU idle.
    """
    whole, packed = _side_by_side(linears), _packed(linears)

    def plain() -> tuple[Tensor, ...]:
        return tuple(linear(states) for linear in linears)

    def kernel(warps: int) -> tuple[Tensor, ...]:
        matrix = nf4.unpack(packed, warps) if whole is None else whole
        return F.linear(states, matrix).split([linear.out_features for linear in linears], -1)

    options = (1,) if whole is not None else nf4.WARPS if packed else ()
    sizes = (len(linears), bool(packed))
    return KERNELS.run("projections", sizes, states, plain, kernel, options)


def _is_plain(linear: nn.Linear) -> bool:
    """Return whether a layer is nothing but the product with its weight; adapters are more."""
    return type(linear) is nn.Linear and linear.bias is None


def _packed(linears: Sequence[nn.Linear]) -> list[nf4.Packed]:
    """Return the weights of layers that bitsandbytes has packed in 4 bits; none if some are not."""
    packed = []
    for linear in linears:
        # A layer with an adapter around it has the same name and weight.
        bare = type(linear).__module__.startswith("bitsandbytes.") and linear.bias is None
        weight = nf4.Packed.of(linear.weight) if bare else None
        if weight is None:
            return []
        packed.append(weight)
    return packed


def _side_by_side(linears: Sequence[nn.Linear]) -> Tensor | None:
    """Return the weights of several layers as one matrix, if they are one in memory."""
    if len(linears) == 1 or not all(map(_is_plain, linears)):
        return None
    weights = [linear.weight for linear in linears]
    if len({(weight.dtype, weight.shape[1], weight.is_contiguous()) for weight in weights}) > 1:
        return None
    for first, second in pairwise(weights):
        if first.data_ptr() + first.nbytes != second.data_ptr():
            return None
        if first.untyped_storage().data_ptr() != second.untyped_storage().data_ptr():
            return None
    return weights[0].as_strided((sum(map(len, weights)), weights[0].shape[1]), weights[0].stride())


def rotate(heads: Tensor, angles: Tensor) -> Tensor:
    """Rotate queries or keys to their positions.

    Args:
        heads: [n, heads * d].
        angles: [n, 2 d], cosines and sines.
    """

    def plain() -> Tensor:
        cosine, sine = angles.unsqueeze(1).chunk(2, -1)
        apart = heads.unflatten(1, (-1, cosine.shape[-1]))
        return (apart * cosine + rotate_half(apart) * sine).flatten(1)

    def kernel(warps: int) -> Tensor:
        return llama.rotate(heads, angles, warps)

    return KERNELS.run("rotary positions", angles.shape[1:], heads, plain, kernel, llama.WARPS)


def run_mlp(mlp: LlamaMLP, states: Tensor) -> Tensor:
    """Run LLaMA's gated MLP over [n, D]."""
    (gates,), (values,) = project([mlp.gate_proj], states), project([mlp.up_proj], states)

    def plain() -> Tensor:
        return mlp.act_fn(gates) * values

    def kernel(warps: int) -> Tensor:
        return llama.gate(gates, values, warps)

    options = llama.WARPS if mlp.config.hidden_act in ("silu", "swish") else ()
    gated = KERNELS.run("gate", (), gates, plain, kernel, options)
    return project([mlp.down_proj], gated)[0]

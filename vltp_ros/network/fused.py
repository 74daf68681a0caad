"""What has a Triton kernel: the one place where the network asks for one.

Each function takes PyTorch's way on every device but an NVIDIA GPU, and there the way that was
measured to be faster (:class:`vltp_ros.kernels.choice.KernelChoice`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from segment_anything.modeling.image_encoder import Attention
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm, rotate_half

from vltp_ros.kernels import llama
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
    gates, values = mlp.gate_proj(states), mlp.up_proj(states)

    def plain() -> Tensor:
        return mlp.act_fn(gates) * values

    def kernel(warps: int) -> Tensor:
        return llama.gate(gates, values, warps)

    options = llama.WARPS if mlp.config.hidden_act in ("silu", "swish") else ()
    return mlp.down_proj(KERNELS.run("gate", (), gates, plain, kernel, options))

"""What has a Triton kernel: the one place where the network asks for one.

Each function takes PyTorch's way on every device but an NVIDIA GPU, and there the way that was
measured to be faster (:class:`vltp_ros.kernels.choice.KernelChoice`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from segment_anything.modeling.image_encoder import Attention
from torch import Tensor

from vltp_ros.kernels.attention import (
    GLOBAL_TILINGS,
    WINDOW_TILINGS,
    Tiling,
    WindowTokens,
    relative_attention,
)
from vltp_ros.kernels.choice import KERNELS


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

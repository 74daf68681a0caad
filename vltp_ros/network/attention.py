"""SAM's window and global attention over any subset of the image tokens.

``softmax(q k / sqrt(d) + rel_h + rel_w) v`` runs as fused scaled dot-product attention with the
relative positions as an additive bias. The bias of a few queries exists at a time, never N x N.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Attention, Block
from torch import Tensor

from vltp_ros.network import fused
from vltp_ros.network.products import softmax, trains_on_cpu
from vltp_ros.network.windows import TokenPositions, onehot_positions

BIAS_ELEMENTS = {"cpu": 2**23, "cuda": 2**27}
"""Most elements of a bias that exist at a time: few stay in a CPU's cache, many fill a GPU."""


def run_blocks(blocks: Iterable[Block], tokens: Tensor, positions: TokenPositions) -> Tensor:
    """Run transformer blocks of SAM's encoder over some tokens [B, n, C] (Eq. 5)."""
    update = None  # what the last step adds: the norm that follows takes the sum along
    for block in blocks:
        tokens, normed = fused.add_and_norm(block.norm1, tokens, update)
        update = _attend(block, normed, positions)
        tokens, normed = fused.add_and_norm(block.norm2, tokens, update)
        update = fused.run_gelu_mlp(block.mlp, normed)
    return tokens if update is None else tokens + update


def _attend(block: Block, tokens: Tensor, positions: TokenPositions) -> Tensor:
    """Let tokens [B, n, C], normalised, attend to each other, by whatever way is the fastest."""
    attn, size = block.attn, block.window_size
    plain = window_attention if size else global_attention
    if size and positions.are_few(size):
        plain = masked_window_attention
    qkv = attn.qkv(tokens)
    out = fused.attend(
        attn,
        qkv,
        fused.Windows(positions.grid, size, positions.indices is not None),
        plain=lambda: plain(block, qkv, positions),
        lists=lambda: positions.lists(size, qkv),
    )
    return attn.proj(out)


def global_attention(block: Block, qkv: Tensor, positions: TokenPositions) -> Tensor:
    """Let every token attend to all that are present.

    Args:
        block: whose attention it is.
        qkv: queries, keys and values, [B, n, 3 C].
        positions: of the n tokens.

    Returns:
        [B, n, C], before the projection.
    """
    attn, grid, indices = block.attn, positions.grid, positions.indices
    q, k, v = qkv.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    if indices is None:
        rel_h, rel_w = _dense_bias(attn, q, grid)
        onehot = None
        if trains_on_cpu(q):
            attended = _attend_by_products(attn, q, k, v, (rel_h, rel_w), grid)
            return attended.transpose(1, 2).flatten(2)
    else:
        rel_h, rel_w = _gathered_bias(attn, q, grid, (indices // grid[1], indices % grid[1]))
        onehot = onehot_positions(grid, q.device).to(q.dtype)[indices].transpose(1, 2).unsqueeze(1)
    batch, heads, count, _ = q.shape
    limit = BIAS_ELEMENTS["cpu" if q.device.type == "cpu" else "cuda"]
    at_once = max(1, limit // (batch * heads * count))
    if torch.jit.is_tracing():  # a compiler adds the bias where it is used, and has none in memory
        at_once = count
    out = [
        F.scaled_dot_product_attention(some, k, v, _bias(some_h, some_w, onehot), scale=attn.scale)
        for some, some_h, some_w in zip(
            *(t.split(at_once, 2) for t in (q, rel_h, rel_w)), strict=True
        )
    ]
    return torch.cat(out, 2).transpose(1, 2).flatten(2)


def window_attention(block: Block, qkv: Tensor, positions: TokenPositions) -> Tensor:
    """Let every token attend to the present tokens of its own window.

    Shapes are those of :func:`global_attention`.

    SAM pads the grid to whole windows after the norm and lets the pads take part as keys. Their
    input is zero, so their key and value are the bias of the projection.
    """
    attn, size, width = block.attn, block.window_size, qkv.shape[-1] // 3
    layout = positions.windows(size, qkv)
    # Whole rows move, by their number: gather and scatter would look every element up.
    q, kv = qkv.flatten(0, 1).split((width, 2 * width), -1)
    kv = torch.cat([kv, attn.qkv.bias[None, width:].to(kv.dtype)])
    q = q.index_select(0, layout.queries)
    q = q.view(layout.tiles, -1, attn.num_heads, width // attn.num_heads).transpose(1, 2)
    kv = kv.index_select(0, layout.keys).view(layout.tiles, size * size, 2, attn.num_heads, -1)
    k, v = kv.permute(2, 0, 3, 1, 4)
    window = (size, size)
    if layout.coordinates is None:
        biases = _dense_bias(attn, q, window)
    else:
        biases = _gathered_bias(attn, q, window, layout.coordinates)
    if layout.absent is None and trains_on_cpu(q):
        out = _attend_by_products(attn, q, k, v, biases, window)
    else:
        bias = _bias(*biases)
        if layout.absent is not None:
            bias = bias + layout.absent.to(q.dtype)
        out = F.scaled_dot_product_attention(q, k, v, bias, scale=attn.scale)
    out = out.transpose(1, 2).flatten(2).flatten(0, 1).index_select(0, layout.outputs)
    return out.view(*qkv.shape[:-1], width)


def masked_window_attention(block: Block, qkv: Tensor, positions: TokenPositions) -> Tensor:
    """Do what :func:`window_attention` does, among few tokens at once."""
    attn, size = block.attn, block.window_size
    mask = positions.mask(size)
    q, k, v = qkv.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    biases = _gathered_bias(attn, q, (size, size), mask.coordinates)
    bias = _bias(*biases, mask.onehot.to(q.dtype)) + mask.absent.to(q.dtype)
    out = F.scaled_dot_product_attention(q, k, v, bias, scale=attn.scale)
    return out.transpose(1, 2).flatten(2)


def _attend_by_products(
    attn: Attention,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    biases: tuple[Tensor, Tensor],
    grid: tuple[int, int],
) -> Tensor:
    """Attend by two products, the biases being part of the first.

    A query's biases against rows and columns are appended to it, and to each key the row and the
    column that it has, one-hot: no bias of each pair is added up, nor its gradient.

    Args:
        attn: of SAM.
        q: queries [B, heads, n, d].
        k: keys of the whole grid, [B, heads, H * W, d].
        v: their values.
        biases: [B, heads, n, H] and [B, heads, n, W].
        grid: H and W.

    Returns:
        [B, heads, n, d].
    """
    query = torch.cat([q * attn.scale, *biases], -1)
    places = onehot_positions(grid, q.device).to(k.dtype)
    key = torch.cat([k, places.expand(*k.shape[:2], -1, -1)], -1)
    return softmax(query @ key.mT) @ v


def _bias(rel_h: Tensor, rel_w: Tensor, keys: Tensor | None = None) -> Tensor:
    """Return each query's bias against each key: those against its row and column added up.

    Args:
        rel_h: bias against each row, [B, heads, n, H].
        rel_w: bias against each column, [B, heads, n, W].
        keys: row and column of each key, one-hot [B, 1, H + W, keys]; None for the whole grid.

    Returns:
        [B, heads, n, keys].
    """
    if keys is None:
        return (rel_h.unsqueeze(-1) + rel_w.unsqueeze(-2)).flatten(-2)
    # A product: never slower than looking the numbers up, in bfloat16 three times as fast (CPU).
    return torch.cat([rel_h, rel_w], -1) @ keys


def _dense_bias(attn: Attention, q: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the bias of each query of a whole grid against each key row and key column.

    q: [B, heads, H * W, d] -> [B, heads, H * W, H] and [B, heads, H * W, W].
    """
    height, width = grid
    rows = attn.rel_pos_h[_offsets(height, q.device)].to(q.dtype)
    columns = attn.rel_pos_w[_offsets(width, q.device)].to(q.dtype)
    q = q.unflatten(2, grid)
    return (
        torch.einsum("bnhwc,hkc->bnhwk", q, rows).flatten(2, 3),
        torch.einsum("bnhwc,wkc->bnhwk", q, columns).flatten(2, 3),
    )


def _gathered_bias(
    attn: Attention, q: Tensor, grid: tuple[int, int], coordinates: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return what :func:`_dense_bias` does for queries at some rows and columns [B, n].

    q: [B, heads, n, d] -> [B, heads, n, H] and [B, heads, n, W].
    """
    tables = (attn.rel_pos_h, attn.rel_pos_w)
    biases = []
    for size, table, coordinate in zip(grid, tables, coordinates, strict=True):
        offsets = q @ table.to(q.dtype).T  # against every offset, -(size - 1) .. size - 1
        keys = torch.arange(size, device=q.device)
        index = (coordinate.unsqueeze(-1) - keys + size - 1).unsqueeze(1)
        biases.append(offsets.gather(-1, index.expand(-1, q.shape[1], -1, -1)))
    return biases[0], biases[1]


# Made once on the device, as a copy from the host would be waited for in each block, and never let
# go, as captured graphs read them. They outlive the caller: made in inference mode, training could
# not use them.
@cache
@torch.inference_mode(False)
def _offsets(size: int, device: torch.device) -> Tensor:
    """Return the row, int64 [size, size], of the relative positions of each query and key."""
    steps = torch.arange(size)
    return (steps[:, None] - steps[None] + size - 1).to(device)

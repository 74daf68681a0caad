"""SAM's window and global attention over any subset of the image tokens.

``softmax(q k / sqrt(d) + rel_h + rel_w) v`` runs as fused scaled dot-product attention with the
relative positions as an additive bias. The bias of a few queries exists at a time, never N x N.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Attention, Block
from torch import Tensor

MASKED = -3e4
"""Logit of a key that is not there: exp() of it is 0 in every float type used."""

BIAS_ELEMENTS = {"cpu": 2**23, "cuda": 2**27}
"""Most elements of a bias that exist at a time: few stay in a CPU's cache, many fill a GPU."""


def run_block(
    block: Block, tokens: Tensor, grid: tuple[int, int], positions: Tensor | None = None
) -> Tensor:
    """One transformer block of SAM's encoder over the tokens at ``positions`` (Eq. 5).

    Args:
        tokens: [B, n, C].
        grid: rows and columns of the whole token grid.
        positions: int64 [B, n], each token's row * columns + column; None when ``tokens`` are
            all of them in that order.

    Returns:
        [B, n, C].
    """
    attend = window_attention if block.window_size else global_attention
    tokens = tokens + attend(block, block.norm1(tokens), grid, positions)
    return tokens + block.mlp(block.norm2(tokens))


def global_attention(
    block: Block, tokens: Tensor, grid: tuple[int, int], positions: Tensor | None
) -> Tensor:
    """Every token attends to every token that is present. Shapes as in :func:`run_block`."""
    attn = block.attn
    q, k, v = attn.qkv(tokens).unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    if positions is None:
        rel_h, rel_w = _dense_bias(attn, q, grid)
        places = None
    else:
        rel_h, rel_w = _gathered_bias(attn, q, grid, positions)
        places = _onehot_places(grid, q.device).to(q.dtype)[positions].mT.unsqueeze(1)
    batch, heads, count, _ = q.shape
    limit = BIAS_ELEMENTS["cpu" if q.device.type == "cpu" else "cuda"]
    at_once = max(1, limit // (batch * heads * count))
    out = [
        F.scaled_dot_product_attention(some, k, v, _bias(some_h, some_w, places), scale=attn.scale)
        for some, some_h, some_w in zip(
            *(t.split(at_once, 2) for t in (q, rel_h, rel_w)), strict=True
        )
    ]
    return attn.proj(torch.cat(out, 2).transpose(1, 2).flatten(2))


def window_attention(
    block: Block, tokens: Tensor, grid: tuple[int, int], positions: Tensor | None
) -> Tensor:
    """Every token attends to the present tokens of its own window. Shapes as in :func:`run_block`.

    SAM pads the grid to whole windows after the norm and lets the pads take part as keys. Their
    input is zero, so their query, key and value are the bias of the projection: they are filled
    in here and never computed.
    """
    attn, size = block.attn, block.window_size
    slots, total, absent = _window_slots(grid, size, tokens.device)
    batch = tokens.shape[0]
    index = slots.expand(batch, -1) if positions is None else slots[positions]
    qkv = attn.qkv(tokens)
    pads = attn.qkv.bias.to(qkv.dtype).expand(batch, total, -1)
    windows = pads.scatter(1, index.unsqueeze(-1).expand(-1, -1, qkv.shape[-1]), qkv)
    windows = windows.unflatten(1, (-1, size * size)).flatten(0, 1)
    q, k, v = windows.unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    bias = _bias(*_dense_bias(attn, q, (size, size)))
    if positions is not None:
        missing = absent.to(q.dtype).expand(batch, -1).scatter(1, index, 0.0)
        bias = bias + missing.view(-1, 1, 1, size * size)
    out = F.scaled_dot_product_attention(q, k, v, bias, scale=attn.scale)
    out = out.transpose(1, 2).flatten(2).view(batch, total, -1)
    return attn.proj(out.gather(1, index.unsqueeze(-1).expand(-1, -1, out.shape[-1])))


def _bias(rel_h: Tensor, rel_w: Tensor, places: Tensor | None = None) -> Tensor:
    """Bias of each query against each key from those against each row and each column.

    Args:
        rel_h, rel_w: [B, heads, n, H] and [B, heads, n, W].
        places: row and column of each key, one-hot [B, 1, H + W, keys]; None for the whole grid.

    Returns:
        [B, heads, n, keys].
    """
    if places is None:
        return (rel_h.unsqueeze(-1) + rel_w.unsqueeze(-2)).flatten(-2)
    # A product: never slower than looking the numbers up, in bfloat16 three times as fast (CPU).
    return torch.cat([rel_h, rel_w], -1) @ places


def _dense_bias(attn: Attention, q: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Bias of each query of a whole grid against each key row and each key column.

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
    attn: Attention, q: Tensor, grid: tuple[int, int], positions: Tensor
) -> tuple[Tensor, Tensor]:
    """As :func:`_dense_bias` for the queries at ``positions`` [B, n]: q is [B, heads, n, d]."""
    coordinates = (positions // grid[1], positions % grid[1])
    tables = (attn.rel_pos_h, attn.rel_pos_w)
    biases = []
    for size, table, coordinate in zip(grid, tables, coordinates, strict=True):
        offsets = q @ table.to(q.dtype).T  # against every offset, -(size - 1) .. size - 1
        keys = torch.arange(size, device=q.device)
        index = (coordinate.unsqueeze(-1) - keys + size - 1).unsqueeze(1)
        biases.append(offsets.gather(-1, index.expand(-1, q.shape[1], -1, -1)))
    return biases[0], biases[1]


# Made once on the device, as a copy from the host would be waited for in each block. They outlive
# the caller: made in inference mode, training could not use them.
@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _offsets(size: int, device: torch.device) -> Tensor:
    """int64 [size, size]: row of the table of relative positions for each query and key."""
    places = torch.arange(size)
    return (places[:, None] - places[None] + size - 1).to(device)


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _onehot_places(grid: tuple[int, int], device: torch.device) -> Tensor:
    """float [H * W, H + W]: each place's row and column, one-hot."""
    height, width = grid
    rows = torch.eye(height).repeat_interleave(width, 0)
    columns = torch.eye(width).repeat(height, 1)
    return torch.cat([rows, columns], 1).to(device)


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _window_slots(
    grid: tuple[int, int], size: int, device: torch.device
) -> tuple[Tensor, int, Tensor]:
    """Where each token of the grid lies when the padded grid is cut into windows.

    Returns:
        int64 [H * W] slots, window by window; the number of slots, pads included; and
        float [1, slots]: MASKED where a slot holds a token, 0 where it holds a pad.
    """
    height, width = grid
    per_row = -(-width // size)
    total = -(-height // size) * per_row * size * size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    slots = ((y // size * per_row + x // size) * size + y % size) * size + x % size
    slots = slots.flatten()
    absent = torch.zeros(1, total)
    absent[:, slots] = MASKED
    return slots.to(device), total, absent.to(device)

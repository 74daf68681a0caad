"""SAM's window and global attention over any subset of the image tokens.

``softmax(q k / sqrt(d) + rel_h + rel_w) v`` runs as fused scaled dot-product attention with the
relative positions as an additive bias. The bias of a few queries exists at a time, never N x N.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Attention, Block
from torch import Tensor

from vltp_ros.kernels.attention import WindowTokens
from vltp_ros.network import fused
from vltp_ros.network.window_lists import list_all_tokens, list_tokens

MASKED = -3e4
"""Logit of a key that is not there: exp() of it is 0 in every float type used."""

TILE = 32
"""Queries side by side in window attention when some tokens are missing: what a CPU's fused
attention takes at once. Longer tiles have more empty slots, shorter ones copy more keys."""

BIAS_ELEMENTS = {"cpu": 2**23, "cuda": 2**27}
"""Most elements of a bias that exist at a time: few stay in a CPU's cache, many fill a GPU."""


class TokenPositions:
    """Positions of some tokens on the grid; their window layouts serve all blocks.

    Attributes:
        grid: rows and columns of the whole token grid.
        indices: int64 [B, n], each token's row * columns + column, each at most once; None where
            they are all tokens of the grid, in that order.
    """

    def __init__(self, grid: tuple[int, int], indices: Tensor | None = None) -> None:
        self.grid = grid
        self.indices = indices
        self._layouts: dict[int, WindowLayout] = {}
        self._lists: dict[int, WindowTokens] = {}

    def windows(self, size: int, tokens: Tensor) -> WindowLayout:
        """Return the layout of the tokens [B, n, C] in windows of ``size`` x ``size``."""
        if self.indices is None:
            return _whole_windows(self.grid, size, len(tokens), tokens.device)
        if size not in self._layouts:
            self._layouts[size] = _lay_out(self.indices, self.grid, size)
        return self._layouts[size]

    def lists(self, size: int, tokens: Tensor) -> WindowTokens:
        """Return which of the tokens [B, n, C] each window of a size holds; 0: the whole grid."""
        if self.indices is None:
            return list_all_tokens(self.grid, size, len(tokens), tokens.device)
        if size not in self._lists:
            self._lists[size] = list_tokens(self.indices, self.grid, size)
        return self._lists[size]


@dataclass(frozen=True)
class WindowLayout:
    """Window attention in tiles: each holds some queries of a window, and all keys of it.

    Windows keep different numbers of tokens. A window takes as many tiles as its queries fill, and
    the number of tiles in all has a bound that the number of tokens alone decides: shapes are
    static, and few slots are empty.

    Attributes:
        tiles: how many there are.
        queries: int64 [tiles * length], the token of each slot for a query, counted over the whole
            batch; where the slot is empty, any.
        keys: int64 [tiles * slots], the token of each key; B * n stands for SAM's padding.
        outputs: int64 [B * n], the slot for a query that holds the token.
        coordinates: int64 [tiles, length] each, row and column of each query in its window; None
            where each window is one tile with all its tokens in raster order.
        absent: float [tiles, 1, 1, slots], MASKED where a token was not kept; None likewise.
    """

    tiles: int
    queries: Tensor
    keys: Tensor
    outputs: Tensor
    coordinates: tuple[Tensor, Tensor] | None = None
    absent: Tensor | None = None


def run_blocks(blocks: Iterable[Block], tokens: Tensor, positions: TokenPositions) -> Tensor:
    """Run transformer blocks of SAM's encoder over some tokens [B, n, C] (Eq. 5)."""
    update = None  # what the last step adds: the norm that follows takes the sum along
    for block in blocks:
        tokens, normed = fused.add_and_norm(block.norm1, tokens, update)
        update = _attend(block, normed, positions)
        tokens, normed = fused.add_and_norm(block.norm2, tokens, update)
        update = block.mlp(normed)
    return tokens if update is None else tokens + update


def _attend(block: Block, tokens: Tensor, positions: TokenPositions) -> Tensor:
    """Let tokens [B, n, C], normalised, attend to each other, by whatever way is the fastest."""
    attn, size = block.attn, block.window_size
    plain = window_attention if size else global_attention
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
    else:
        rel_h, rel_w = _gathered_bias(attn, q, grid, (indices // grid[1], indices % grid[1]))
        onehot = _onehot_positions(grid, q.device).to(q.dtype)[indices].transpose(1, 2).unsqueeze(1)
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
    if layout.coordinates is None:
        bias = _bias(*_dense_bias(attn, q, (size, size)))
    else:
        bias = _bias(*_gathered_bias(attn, q, (size, size), layout.coordinates))
    if layout.absent is not None:
        bias = bias + layout.absent.to(q.dtype)
    out = F.scaled_dot_product_attention(q, k, v, bias, scale=attn.scale)
    out = out.transpose(1, 2).flatten(2).flatten(0, 1).index_select(0, layout.outputs)
    return out.view(*qkv.shape[:-1], width)


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


@cache
@torch.inference_mode(False)
def _onehot_positions(grid: tuple[int, int], device: torch.device) -> Tensor:
    """Return float [H * W, H + W], the row and the column of each position, one-hot."""
    height, width = grid
    rows = torch.eye(height).repeat_interleave(width, 0)
    columns = torch.eye(width).repeat(height, 1)
    return torch.cat([rows, columns], 1).to(device)


@cache
@torch.inference_mode(False)
def _window_slots(grid: tuple[int, int], size: int, device: torch.device) -> tuple[Tensor, int]:
    """Return where each token of the grid lies when the padded grid is cut into windows.

    Returns:
        int64 [H * W] slots, window by window, and the number of windows.
    """
    height, width = grid
    per_row = -(-width // size)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    slots = ((y // size * per_row + x // size) * size + y % size) * size + x % size
    return slots.flatten().to(device), -(-height // size) * per_row


@cache
@torch.inference_mode(False)
def _whole_windows(
    grid: tuple[int, int], size: int, batch: int, device: torch.device
) -> WindowLayout:
    """Lay out all tokens of the grid: each window, with its pads, is one tile."""
    slots, windows = _window_slots(grid, size, device)
    slots = _rows(slots.expand(batch, -1), windows * size**2)
    tokens = torch.full((batch * windows * size**2,), len(slots), device=device)
    keys = tokens.index_copy(0, slots, torch.arange(len(slots), device=device))
    return WindowLayout(batch * windows, keys.clamp(max=len(slots) - 1), keys, slots)


def _lay_out(indices: Tensor, grid: tuple[int, int], size: int) -> WindowLayout:
    """Lay out the tokens at some positions, int64 [B, n], in tiles of at most TILE slots."""
    batch, count = indices.shape
    length = min(TILE, size**2)
    whole = _whole_windows(grid, size, 1, indices.device)
    windows, pads = whole.tiles, whole.keys == len(whole.outputs)
    tiles = min((count + windows * (length - 1)) // length, windows * -(-(size**2) // length))
    slots = whole.outputs[indices]
    window, order = (slots // size**2).sort(1)
    kept = torch.zeros(batch, windows, dtype=torch.int64, device=slots.device)
    kept = kept.scatter_add(1, window, torch.ones_like(window))
    needed = (kept + length - 1) // length
    rank = torch.arange(count, device=slots.device) - (kept.cumsum(1) - kept).gather(1, window)
    tile = (needed.cumsum(1) - needed).gather(1, window) + rank // length
    outputs = torch.zeros_like(slots).scatter(1, order, tile * length + rank % length)

    def spread_out(count: int, index: Tensor, values: Tensor) -> Tensor:
        """Return int64 [B, count] of ``values`` at their index, and 0 elsewhere."""
        empty = torch.zeros(batch, count, dtype=torch.int64, device=slots.device)
        return empty.scatter(1, index, values)

    of_tile = _rows(spread_out(tiles, tile, window), windows)
    tokens = torch.arange(batch * count, device=slots.device).view(batch, count)
    inside = spread_out(tiles * length, outputs, slots % size**2).view(-1, length)
    keys = torch.where(pads, batch * count, 0).expand(batch, -1).scatter(1, slots, tokens)
    absent = torch.where(pads, 0.0, MASKED).expand(batch, -1).scatter(1, slots, 0.0)
    return WindowLayout(
        tiles=batch * tiles,
        queries=spread_out(tiles * length, outputs, tokens).flatten(),
        keys=keys.view(-1, size**2).index_select(0, of_tile).flatten(),
        outputs=_rows(outputs, tiles * length),
        coordinates=(inside // size, inside % size),
        absent=absent.view(-1, 1, 1, size**2).index_select(0, of_tile),
    )


def _rows(index: Tensor, count: int) -> Tensor:
    """Turn indices [B, n] into each row's ``count`` items into [B * n] into those of all rows."""
    first = count * torch.arange(len(index), device=index.device)
    return (index + first.unsqueeze(1)).flatten()

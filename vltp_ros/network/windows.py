"""Which tokens share a window: laid out in tiles, or told apart by a mask.

What is made here lies on the tokens' device. It is made once and kept where it does not depend on
which tokens there are: a copy from the host would be waited for in each block, and captured graphs
read it. It outlives the caller: made in inference mode, training could not use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from vltp_ros.kernels.attention import WindowTokens
from vltp_ros.network.window_lists import list_all_tokens, list_tokens, window_slots

MASKED = -3e4
"""Logit of a key that is not there: exp() of it is 0 in every float type used."""

TILE = 32
"""Queries side by side in window attention when some tokens are missing: what a CPU's fused
attention takes at once. Longer tiles have more empty slots, shorter ones copy more keys."""

FEW = 256
"""Tokens up to which window attention is cheapest among all of them, other windows' masked: laying
them out in windows costs more than the products that it saves."""


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
        self._masks: dict[int, WindowMask] = {}

    def are_few(self, size: int) -> bool:
        """Return whether window attention needs no windows: few tokens, and none of padding."""
        if self.indices is None or any(side % size for side in self.grid):
            return False
        return self.indices.shape[1] <= FEW

    def mask(self, size: int) -> WindowMask:
        """Return which of the tokens share a window of ``size`` x ``size``."""
        assert self.indices is not None
        if size not in self._masks:
            self._masks[size] = _mask_windows(self.indices, self.grid, size)
        return self._masks[size]

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


@dataclass(frozen=True)
class WindowMask:
    """Window attention among n tokens at once, as they are."""

    coordinates: tuple[Tensor, Tensor]  # int64 [B, n] each, row and column in the token's window
    onehot: Tensor  # float [B, 1, 2 * size, n], the same of each key
    absent: Tensor  # float [B, 1, n, n], MASKED where the key is in another window


@cache
@torch.inference_mode(False)
def onehot_positions(grid: tuple[int, int], device: torch.device) -> Tensor:
    """Return float [H * W, H + W], the row and the column of each position, one-hot."""
    height, width = grid
    rows = torch.eye(height).repeat_interleave(width, 0)
    columns = torch.eye(width).repeat(height, 1)
    return torch.cat([rows, columns], 1).to(device)


@cache
@torch.inference_mode(False)
def _whole_windows(
    grid: tuple[int, int], size: int, batch: int, device: torch.device
) -> WindowLayout:
    """Lay out all tokens of the grid: each window, with its pads, is one tile."""
    slots, windows = window_slots(grid, size, device)
    slots = _rows(slots.expand(batch, -1), windows * size**2)
    tokens = torch.full((batch * windows * size**2,), len(slots), device=device)
    keys = tokens.index_copy(0, slots, torch.arange(len(slots), device=device))
    return WindowLayout(batch * windows, keys.clamp(max=len(slots) - 1), keys, slots)


def _mask_windows(indices: Tensor, grid: tuple[int, int], size: int) -> WindowMask:
    """Tell the windows of the tokens at some positions, int64 [B, n], apart."""
    slots = window_slots(grid, size, indices.device)[0][indices]
    window, inside = slots // size**2, slots % size**2
    onehot = onehot_positions((size, size), indices.device)[inside]
    others = window.unsqueeze(1) != window.unsqueeze(2)
    return WindowMask(
        (inside // size, inside % size),
        onehot.transpose(1, 2).unsqueeze(1),
        torch.where(others, MASKED, 0.0).unsqueeze(1),
    )


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

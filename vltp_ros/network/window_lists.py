"""Lists of the tokens that are present in each window, as the attention kernel reads them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from vltp_ros.kernels.attention import WindowTokens

TOKEN, PAD, ABSENT = range(3)
"""What a slot of a window holds, in the order of the lists."""


def list_tokens(indices: Tensor, grid: tuple[int, int], size: int) -> WindowTokens:
    """List tokens window by window.

    Args:
        indices: int64 [B, n], each token's row * columns + column, each at most once.
        grid: rows and columns of the whole token grid.
        size: rows and columns of a window; 0: the grid is the only one.
    """
    batch, count = indices.shape
    numbers = torch.arange(batch * count, dtype=torch.int32, device=indices.device)
    numbers = numbers.view(batch, count)
    if not size:
        counts = torch.full((batch,), count, dtype=torch.int32, device=indices.device)
        slots = indices.to(torch.int32).contiguous()
        return WindowTokens(grid, numbers, slots, counts, counts, padded=False, whole=False)
    places, area = window_slots(grid, size, indices.device)[0][indices], size**2
    empty = _empty_windows(grid, size, indices.device).expand(batch, -1)
    contents = empty.scatter(1, places, TOKEN).view(-1, area)
    tokens = torch.full_like(empty, -1, dtype=torch.int32).scatter(1, places, numbers)
    contents, slots = contents.sort(dim=1, stable=True)
    return WindowTokens(
        (size, size),
        tokens.view(-1, area).gather(1, slots),
        slots.to(torch.int32),
        (contents == TOKEN).sum(1, dtype=torch.int32),
        (contents != ABSENT).sum(1, dtype=torch.int32),
        padded=grid[0] % size + grid[1] % size > 0,
        whole=False,
    )


# Made once on the device and never let go, as captured graphs read them.
@cache
@torch.inference_mode(False)
def list_all_tokens(
    grid: tuple[int, int], size: int, batch: int, device: torch.device
) -> WindowTokens:
    """List all tokens of a grid as :func:`list_tokens` does."""
    indices = torch.arange(grid[0] * grid[1], device=device).expand(batch, -1)
    lists = list_tokens(indices, grid, size)
    return lists if size else replace(lists, whole=True)


@cache
@torch.inference_mode(False)
def _empty_windows(grid: tuple[int, int], size: int, device: torch.device) -> Tensor:
    """Return int8 [1, windows * size * size]: PAD outside of the grid, else ABSENT."""
    rows, columns = (-(-side // size) * size for side in grid)
    y = torch.arange(rows, device=device).unsqueeze(1)
    x = torch.arange(columns, device=device)
    contents = torch.where((y < grid[0]) & (x < grid[1]), ABSENT, PAD).to(torch.int8)
    contents = contents.view(rows // size, size, columns // size, size)
    return contents.transpose(1, 2).reshape(1, -1)


@cache
@torch.inference_mode(False)
def window_slots(grid: tuple[int, int], size: int, device: torch.device) -> tuple[Tensor, int]:
    """Return where each token of the grid lies when the padded grid is cut into windows.

    Returns:
        int64 [H * W] slots, window by window, and the number of windows.
    """
    height, width = grid
    per_row = -(-width // size)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    slots = ((y // size * per_row + x // size) * size + y % size) * size + x % size
    return slots.flatten().to(device), -(-height // size) * per_row

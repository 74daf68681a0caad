"""3 x 3 convolutions in a quarter of the products (Winograd; Lavin & Gray, 2016, F(4 x 4, 3 x 3)).

For a compiler of CPU code that does not know the method and folds what follows from weights alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

OUTPUTS = 4
"""Side of the tiles that the outcome is cut into, pixels; each follows from 6 x 6 of the input."""

WIDE = 128
"""Channels from which the products that are saved outweigh the transforms."""

INPUT = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
WEIGHT = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
OUTPUT = [
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1, 1, 4, 4, 0],
    [0, 1, -1, 8, -8, 1],
]
"""The paper's B^T, G and A^T."""


def fits_winograd(layer: nn.Conv2d, image: Tensor) -> bool:
    """Return whether :func:`winograd` does to features [B, C, R, S] what a layer does, and faster.

    Only in float32: the sums that it takes of weights and inputs cost a short type its digits.
    """
    return (
        (layer.kernel_size, layer.padding) == ((3, 3), (1, 1))
        and (layer.stride, layer.dilation, layer.groups) == ((1, 1), (1, 1), 1)
        and layer.bias is None
        and min(layer.in_channels, layer.out_channels) >= WIDE
        and layer.weight.dtype == torch.float32
        and not any(side % OUTPUTS for side in image.shape[-2:])
    )


def winograd(image: Tensor, weight: Tensor) -> Tensor:
    """Convolve features [B, C, R, S] with [O, C, 3, 3], one pixel of zeros around: [B, O, R, S]."""
    batch, _, rows, columns = image.shape
    transform = weight.new_tensor(WEIGHT, dtype=torch.float64)
    weights = torch.einsum("ia,ocab,jb->ijco", transform, weight.double(), transform)
    size = len(INPUT)
    to_rows, from_rows = _transforms(image, rows)
    to_columns, from_columns = _transforms(image, columns)
    # Channels last throughout; a transform is a product with one axis.
    tiles = to_rows @ image.permute(0, 2, 3, 1).flatten(2)  # [B, 6 R / 4, S C]
    tiles = to_columns @ tiles.view(batch * len(to_rows), columns, -1)
    tiles = tiles.view(batch, size, rows // OUTPUTS, size, columns // OUTPUTS, -1)
    tiles = tiles.permute(1, 3, 0, 2, 4, 5)  # [6, 6, B, R / 4, S / 4, C]
    tiles = tiles.flatten(2, 4).flatten(0, 1) @ weights.flatten(0, 1).to(weight.dtype)
    tiles = tiles.view(size, size, batch, rows // OUTPUTS, columns // OUTPUTS, -1)
    tiles = tiles.permute(2, 0, 3, 1, 4, 5)  # [B, 6, R / 4, 6, S / 4, O]
    drawn = from_columns @ tiles.reshape(batch * len(to_rows), len(to_columns), -1)
    drawn = from_rows @ drawn.reshape(batch, len(to_rows), -1)  # [B, R, S O]
    return drawn.unflatten(2, (columns, -1)).permute(0, 3, 1, 2)


def _transforms(like: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Return what turns an axis into its tiles, [6 L / 4, L], and such tiles back, [L, 6 L / 4]."""
    size, count = len(INPUT), length // OUTPUTS
    there = like.new_zeros(size, count, length + 2)
    back = like.new_zeros(length, size, count)
    for tile in range(count):
        start = tile * OUTPUTS
        there[:, tile, start : start + size] = like.new_tensor(INPUT)
        back[start : start + OUTPUTS, :, tile] = like.new_tensor(OUTPUT)
    return there[..., 1:-1].flatten(0, 1), back.flatten(1)

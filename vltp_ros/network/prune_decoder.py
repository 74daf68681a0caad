"""The prune decoder: how relevant each image token is to the task (VLTP, Eq. 6-10)."""

from __future__ import annotations

import torch
from segment_anything.modeling import TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from torch import Tensor, nn

from vltp_ros.network.config import PruneDecoderConfig
from vltp_ros.network.convolutions import run_convolutions
from vltp_ros.network.two_way import run_two_way

WIDTH = 256
"""Width of the <SEG> embedding and of SAM's features."""


def without_autocast(tensor: Tensor) -> torch.autocast:
    """Return a context that computes in the tensors' own types, despite an outer autocast."""
    return torch.autocast("cuda" if tensor.is_cuda else "cpu", enabled=False)


def dense_positions(embedding: PositionEmbeddingRandom, image: Tensor) -> Tensor:
    """Return SAM's positional encoding for features [B, d, rows, columns], in their type.

    It is computed in float32: bfloat16 rounds phases of several turns by nearly as much as those of
    neighbours differ.
    """
    with without_autocast(embedding.positional_encoding_gaussian_matrix):
        positions = embedding((image.shape[-2], image.shape[-1]))
    return positions.to(image.dtype).expand_as(image)


class PruneDecoder(nn.Module):
    """Scores image tokens against a <SEG> embedding; one module serves every stage."""

    def __init__(self, embed_dim: int, config: PruneDecoderConfig) -> None:
        """Make the modules, with random weights.

        Args:
            embed_dim: width C of the encoder's tokens.
            config: width d and sizes of the two-way transformer.
        """
        super().__init__()
        width = config.width
        self.neck = nn.Sequential(
            nn.Conv2d(embed_dim, width, 1, bias=False),
            LayerNorm2d(width),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            LayerNorm2d(width),
        )
        # The paper has d = 256; a small encoder needs a narrower one to cost less than it saves.
        self.guide = nn.Identity() if width == WIDTH else nn.Linear(WIDTH, width)
        self.query = nn.Embedding(1, width)
        self.position = PositionEmbeddingRandom(width // 2)
        self.no_mask = nn.Embedding(1, width)
        self.transformer = TwoWayTransformer(config.depth, width, config.num_heads, config.mlp_dim)

    def forward(self, tokens: Tensor, seg: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return relevance logits, to be ranked or passed through a sigmoid.

        Args:
            tokens: [B, N, C], the encoder's tokens in raster order.
            seg: [B, 1, 256], one <SEG> embedding for each.
            grid: rows and columns, N = rows * columns.

        Returns:
            float32 [B, N], whatever the type of the weights: few of the best would differ.

        Raises:
            ValueError: if the shapes do not fit each other.
        """
        batch, count, _ = tokens.shape
        if count != grid[0] * grid[1] or seg.shape != (batch, 1, WIDTH):
            raise ValueError(
                f"tokens {tuple(tokens.shape)}, seg {tuple(seg.shape)} and grid {tuple(grid)} do "
                f"not fit; allowed: [B, rows * columns, C] and [B, 1, {WIDTH}]"
            )
        square = tokens.transpose(1, 2).unflatten(2, grid)
        image = run_convolutions(self.neck, square)  # [B, d, rows, columns]
        image = image + self.no_mask.weight[..., None, None]
        position = dense_positions(self.position, image)
        query = self.query.weight.expand(batch, -1, -1)
        points = torch.cat([query, self.guide(seg.to(query))], 1)
        points, image = run_two_way(self.transformer, image, position, points)
        with without_autocast(image):
            return (image.float() @ points[:, :1].float().transpose(1, 2)).squeeze(-1)  # Eq. 10

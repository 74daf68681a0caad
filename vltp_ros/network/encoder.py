"""SAM's image encoder in stages: freeze, re-select, reactivate, merge (VLTP, Sections 4.2, 4.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

from vltp_ros.network.attention import TokenPositions, run_blocks
from vltp_ros.network.convolutions import embed_patches, run_convolutions

Select = Callable[[int, Tensor], Tensor]
"""(stage, tokens [B, N, C]) -> int64 [B, k]: the tokens to keep, each at most once."""


@dataclass(frozen=True)
class EncoderOutput:
    """Features for the mask decoder, and what each stage kept."""

    features: Tensor  # [B, 256, S/16, S/16]
    kept: tuple[Tensor, ...]  # per stage: int64 [B, k]


class PrunedImageEncoder(nn.Module):
    """Runs only the selected tokens through the blocks after each pruning stage.

    A token that is not selected is frozen: it keeps its value, may be selected again at the next
    stage, and joins the others before the neck.
    """

    def __init__(self, image_encoder: ImageEncoderViT, prune_after: Sequence[int]) -> None:
        """Lay the stages over an encoder.

        Args:
            image_encoder: whose parameters are used, not copied.
            prune_after: ascending 1-based layer numbers; () never prunes.

        Raises:
            ValueError: for a layer that does not exist or is not a global-attention layer.
        """
        super().__init__()
        depth = len(image_encoder.blocks)
        layers = [i + 1 for i, block in enumerate(image_encoder.blocks) if not block.window_size]
        allowed = [layer for layer in layers if layer < depth]
        prune_after = tuple(prune_after)
        if any(layer not in allowed for layer in prune_after) or list(prune_after) != sorted(
            set(prune_after)
        ):
            raise ValueError(
                f"prune_after is {prune_after}; allowed: ascending numbers of global-attention "
                f"layers before the last of {depth}: {allowed}"
            )
        self.image_encoder = image_encoder
        self.prune_after = prune_after
        self.grid = tuple(image_encoder.pos_embed.shape[1:3])

    def forward(self, images: Tensor, select: Select | None = None) -> EncoderOutput:
        """Encode normalised images, float [B, 3, S, S].

        ``select`` is needed where there are stages.
        """
        return self.finish(self.stem(images), select)

    def stem(self, images: Tensor) -> Tensor:
        """Run the blocks before the first stage, which do not depend on the task.

        Args:
            images: float [B, 3, S, S], normalised.

        Returns:
            tokens [B, N, C] in raster order.
        """
        side = self.image_encoder.img_size
        if images.ndim != 4 or images.shape[1:] != (3, side, side):
            raise ValueError(f"images are {tuple(images.shape)}; allowed: (B, 3, {side}, {side})")
        tokens = embed_patches(self.image_encoder.patch_embed, images)
        tokens = (tokens + self.image_encoder.pos_embed).to(tokens.dtype)
        # A convolution leaves the channels outermost, and every sum would keep it so: each norm
        # would then copy the tokens first.
        tokens = tokens.flatten(1, 2).contiguous()
        return run_blocks(self._blocks(0), tokens, TokenPositions(self.grid))

    def finish(self, tokens: Tensor, select: Select | None = None) -> EncoderOutput:
        """Run the pruned blocks and the neck over tokens [B, N, C] from :meth:`stem`.

        Raises:
            ValueError: if there are stages and no ``select``, or if it returns indices of the wrong
                shape or type.
        """
        kept: list[Tensor] = []
        for stage in range(len(self.prune_after)):
            if select is None:
                raise ValueError(f"select is None; the stages after {self.prune_after} need one")
            kept.append(select(stage, tokens))
            tokens = self.advance(stage, tokens, kept[-1])
        return EncoderOutput(self.merge(tokens), tuple(kept))

    def advance(self, stage: int, tokens: Tensor, positions: Tensor) -> Tensor:
        """Run the tokens at ``positions`` through the blocks of a stage; the others stay frozen.

        Args:
            stage: 0-based.
            tokens: [B, N, C], all of them.
            positions: int64 [B, k], each at most once.

        Returns:
            [B, N, C].

        Raises:
            ValueError: for positions of the wrong shape or type.
        """
        _check_selection(positions, tokens, stage)
        index = positions.unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
        active = tokens.gather(1, index)
        active = run_blocks(self._blocks(stage + 1), active, TokenPositions(self.grid, positions))
        return tokens.scatter(1, index, active.to(tokens.dtype))

    def merge(self, tokens: Tensor) -> Tensor:
        """Run the neck over all tokens [B, N, C]: features [B, 256, S/16, S/16]."""
        square = tokens.unflatten(1, self.grid).permute(0, 3, 1, 2)
        return run_convolutions(self.image_encoder.neck, square)

    def _blocks(self, segment: int) -> nn.ModuleList:
        """Return the blocks between two stages; segment 0 comes before the first."""
        bounds = (0, *self.prune_after, len(self.image_encoder.blocks))
        return self.image_encoder.blocks[bounds[segment] : bounds[segment + 1]]


def _check_selection(positions: Tensor, tokens: Tensor, stage: int) -> None:
    """Raise ValueError unless ``positions`` select some of each row's tokens [B, N, C]."""
    batch, count = tokens.shape[:2]
    right_shape = positions.ndim == 2 and positions.shape[0] == batch
    if positions.dtype != torch.int64 or not right_shape or not 0 < positions.shape[1] <= count:
        raise ValueError(
            f"select returned {positions.dtype} {tuple(positions.shape)} at stage {stage}; "
            f"allowed: int64 ({batch}, 1..{count})"
        )

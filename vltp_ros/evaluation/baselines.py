"""The baselines of VLTP's Table 7 on the same SAM: none of them knows the task.

Each is trained as VLTP's pruned half is: encoder frozen, its own module and a mask decoder of its
own learn. Each class says what else differs from its paper.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vltp_ros.network.attention import TokenPositions, run_blocks
from vltp_ros.network.encoder import PrunedImageEncoder
from vltp_ros.network.preprocessing import fitted_size
from vltp_ros.network.token_selection import kept_count, random_scores, top_k


class Baseline(nn.Module):
    """Encodes images with fewer tokens.

    ``forward(square, kinds, tokens)`` takes images [B, 3, S, S] and, in training, the kind of
    object at each pixel, int64 [B, H, W], 0 for none; it returns features [B, 256, g, g] and the
    loss of the baseline's own module, 0 without kinds. Tokens before the first stage [B, N, C] are
    computed if not given.
    """

    def __init__(self, encoder: PrunedImageEncoder, kinds: int, rate: float) -> None:
        """Wrap an encoder that is to save tokens.

        Args:
            encoder: with the stages to prune at; it is not trained.
            kinds: number of kinds of objects.
            rate: share of tokens to save.
        """
        super().__init__()
        self.encoder = encoder
        self.judges = nn.ModuleList()  # what looks at the tokens before each stage
        self.kinds = kinds
        self.rate = rate
        self.width = encoder.image_encoder.pos_embed.shape[-1]

    def calibrate(self, square: Tensor) -> None:
        """Meet ``rate`` on images [B, 3, S, S], where the number of tokens follows the image."""

    def _stem(self, square: Tensor, tokens: Tensor | None) -> Tensor:
        """Return the tokens before the first stage, [B, N, C]."""
        return self.encoder.stem(square) if tokens is None else tokens

    def _advance(self, stage: int, tokens: Tensor, keep: Tensor) -> Tensor:
        """Run a stage for rows that keep different numbers of tokens; keep: bool [B, N]."""
        rows = []
        for row, chosen in zip(tokens.unsqueeze(1), keep, strict=True):
            positions = chosen.nonzero().T
            rows.append(self.encoder.advance(stage, row, positions) if positions.numel() else row)
        return torch.cat(rows)


class RandomSelection(Baseline):
    """As many tokens as VLTP, drawn anew at each stage."""

    def forward(
        self, square: Tensor, kinds: Tensor | None = None, tokens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode images as :class:`Baseline` says."""
        count = kept_count(self.encoder.grid[0] * self.encoder.grid[1], self.rate)
        start = self._stem(square, tokens)
        out = self.encoder.finish(start, lambda stage, rows: top_k(random_scores(rows), count))
        return out.features, square.new_zeros(())


class TokenSharing(Baseline):
    """CTS: 2 x 2 patches of one class share a token (Lu et al., CVPR 2023).

    A policy network looks at the image, the most uniform superpatches are scaled down to one patch
    each, and their token is copied back to the four at the end. Simplified: the policy network is
    a small CNN instead of an EfficientNet, and the encoder is not trained with it.
    """

    def __init__(self, encoder: PrunedImageEncoder, kinds: int, rate: float) -> None:
        super().__init__(encoder, kinds, rate)
        widths = (3, 16, 32, 64, 64, 64)  # five halvings: one output for 32 x 32 pixels
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after)]
            layers.append(nn.GELU())
        self.policy = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 1))

    def forward(
        self, square: Tensor, kinds: Tensor | None = None, tokens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode images as :class:`Baseline` says."""
        encoder, grid = self.encoder.image_encoder, self.encoder.grid
        uniform = self.policy(square)  # [B, 1, rows / 2, columns / 2]
        loss = square.new_zeros(())
        if kinds is not None:
            loss = F.binary_cross_entropy_with_logits(uniform, self._labels(kinds, square.shape[2]))
        total = grid[0] * grid[1]
        superpatches = round(self.rate * total / 3)  # each saves three tokens
        best = uniform.flatten(1).topk(superpatches).indices
        shared = torch.zeros_like(uniform).flatten(1).scatter(1, best, 1.0).view_as(uniform)
        shared = F.interpolate(shared, scale_factor=2)  # [B, 1, rows, columns]
        first = torch.zeros_like(shared)
        first[..., ::2, ::2] = 1
        apart = ((1 - shared) + first).clamp(max=1).flatten(1)
        positions = top_k(apart, total - 3 * superpatches)

        tokens = encoder.patch_embed(square) + encoder.pos_embed
        halved = encoder.patch_embed(F.interpolate(square, scale_factor=0.5, mode="area"))
        pos_embed = F.avg_pool2d(encoder.pos_embed.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        joint = (halved + pos_embed).repeat_interleave(2, 1).repeat_interleave(2, 2)
        is_shared = shared.permute(0, 2, 3, 1) > 0
        tokens = torch.where(is_shared, joint, tokens).flatten(1, 2)
        index = positions.unsqueeze(-1).expand(-1, -1, self.width)
        active = tokens.gather(1, index)
        active = run_blocks(encoder.blocks, active, TokenPositions(grid, positions))
        tokens = tokens.scatter(1, index, active.to(tokens.dtype)).unflatten(1, grid)
        copies = tokens[:, ::2, ::2].repeat_interleave(2, 1).repeat_interleave(2, 2)
        return self.encoder.merge(torch.where(is_shared, copies, tokens).flatten(1, 2)), loss

    def _labels(self, kinds: Tensor, side: int) -> Tensor:
        """Return float [B, 1, side / 32, side / 32]: 1 for each superpatch of one kind, else 0."""
        square = _square_kinds(kinds, side).unsqueeze(1).float()
        return (F.max_pool2d(square, 32) == -F.max_pool2d(-square, 32)).float()


class EarlyExit(Baseline):
    """DToP: tokens whose class is certain leave early (Tang et al., ICCV 2023).

    A head at each stage names the class of each token; from a confidence on, tokens leave for good,
    but for the most confident few of each class, which stay as context. Simplified: the heads are
    linear, the encoder is not trained with them, and the confidence is found so that the share of
    tokens saved, mean over the stages, is ``rate``.
    """

    CONTEXT = 5  # tokens of each class that stay
    confidence: Tensor

    def __init__(self, encoder: PrunedImageEncoder, kinds: int, rate: float) -> None:
        super().__init__(encoder, kinds, rate)
        stages = len(encoder.prune_after)
        self.judges = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(self.width), nn.Linear(self.width, kinds + 1))
            for _ in range(stages)
        )
        self.register_buffer("confidence", torch.tensor(0.95))

    def forward(
        self, square: Tensor, kinds: Tensor | None = None, tokens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode images as :class:`Baseline` says."""
        tokens, loss, _ = self._encode(self._stem(square, tokens), kinds)
        return self.encoder.merge(tokens), loss

    def calibrate(self, square: Tensor) -> None:
        """Find the confidence that saves ``rate`` of the tokens, mean over images and stages."""
        stem = self.encoder.stem(square)
        _bisect(self.confidence, 0.0, 1.0, self.rate, lambda: self._encode(stem, None)[2])

    def _encode(self, tokens: Tensor, kinds: Tensor | None) -> tuple[Tensor, Tensor, float]:
        """Return tokens [B, N, C] after the last block, the heads' loss, and the share saved."""
        active = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        loss, saved = tokens.new_zeros(()), []
        for stage, head in enumerate(self.judges):
            logits = head(tokens).float()
            if kinds is not None:
                side = self.encoder.image_encoder.img_size
                labels = _patch_kinds(kinds, side, self.encoder.grid, self.kinds)
                loss = loss + F.cross_entropy(logits.flatten(0, 1), labels.flatten())
            active = active & self._stay(logits.detach().softmax(-1), active)
            saved.append(1 - active.float().mean().item())
            tokens = self._advance(stage, tokens, active)
        return tokens, loss, sum(saved) / len(saved)

    def _stay(self, probability: Tensor, active: Tensor) -> Tensor:
        """Return bool [B, N]: which tokens are too uncertain to leave, or stay as context."""
        best, kind = probability.max(-1)
        if self.training:  # the confidence follows the heads, so that about ``rate`` leave
            self.confidence.lerp_(best[active].quantile(1 - self.rate), 0.05)
        candidates = probability * F.one_hot(kind, self.kinds + 1) * active.unsqueeze(-1)
        top = candidates.topk(self.CONTEXT, dim=1)
        context = torch.zeros_like(candidates).scatter(1, top.indices, top.values).amax(-1) > 0
        return (best < self.confidence) | context


class LearnedGates(Baseline):
    """SViT: a small MLP decides which tokens a stage runs (Liu et al., WACV 2024).

    Tokens left out keep their value and may come back. The gates learn through Gumbel-softmax with
    the loss of the masks and a target for the share of tokens; at inference the number of tokens
    follows the image. Simplified: gates at the pruning stages instead of at every layer, and the
    encoder is not trained with them.
    """

    SHARE_WEIGHT = 10.0
    least: Tensor

    def __init__(self, encoder: PrunedImageEncoder, kinds: int, rate: float) -> None:
        super().__init__(encoder, kinds, rate)
        self.judges = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(self.width),
                nn.Linear(self.width, self.width // 4),
                nn.GELU(),
                nn.Linear(self.width // 4, 2),
            )
            for _ in encoder.prune_after
        )
        self.register_buffer("least", torch.tensor(0.0))

    def forward(
        self, square: Tensor, kinds: Tensor | None = None, tokens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode images as :class:`Baseline` says."""
        tokens, loss, _ = self._encode(self._stem(square, tokens))
        return self.encoder.merge(tokens), loss

    def calibrate(self, square: Tensor) -> None:
        """Find the threshold that saves ``rate`` of the tokens, mean over images and stages.

        The target in training holds for gates that are drawn, not for the likelier of the two.
        """
        stem = self.encoder.stem(square)
        _bisect(self.least, 20.0, -20.0, self.rate, lambda: self._encode(stem)[2])

    def _encode(self, tokens: Tensor) -> tuple[Tensor, Tensor, float]:
        """Return tokens [B, N, C] after the last block, the loss of the share, and that share."""
        loss, saved = tokens.new_zeros(()), []
        for stage, gate in enumerate(self.judges):
            logits = gate(tokens).float()
            if self.training:
                run = F.gumbel_softmax(logits, hard=True)[..., 0]  # 1 or 0, with a gradient
                tokens = self._gated(stage, tokens, run)
                loss = loss + self.SHARE_WEIGHT * (run.mean() - (1 - self.rate)).square()
            else:
                run = (logits[..., 0] - logits[..., 1] > self.least).float()
                tokens = self._advance(stage, tokens, run > 0)
            saved.append(1 - run.mean().item())
        return tokens, loss, sum(saved) / len(saved)

    def _gated(self, stage: int, tokens: Tensor, run: Tensor) -> Tensor:
        """Run a stage for the chosen tokens; the choice's gradient is what the stage changes."""
        ran = self._advance(stage, tokens, run > 0)
        with torch.no_grad():  # what those left out would have become
            everything = self._advance(stage, tokens, torch.ones_like(run, dtype=torch.bool))
            would = torch.where(run.unsqueeze(-1) > 0, ran, everything)
        return ran + (run - run.detach()).unsqueeze(-1) * (would - tokens.detach())


BASELINES: dict[str, tuple[type[Baseline], float]] = {
    "random": (RandomSelection, 0.5),
    "CTS": (TokenSharing, 0.25),
    "DToP": (EarlyExit, 0.73),
    "SViT": (LearnedGates, 0.70),
}
"""Name -> class and share of tokens saved: the one that the costs of Table 7 speak for."""


@torch.no_grad()
def _bisect(
    threshold: Tensor,
    saves_most: float,
    saves_least: float,
    rate: float,
    saved: Callable[[], float],
) -> None:
    """Set ``threshold``, between two values, so that ``saved()`` is ``rate``."""
    for _ in range(16):
        threshold.fill_((saves_most + saves_least) / 2)
        if saved() > rate:
            saves_most = float(threshold)
        else:
            saves_least = float(threshold)


def _square_kinds(kinds: Tensor, side: int) -> Tensor:
    """Bring kinds [B, H, W] over the image to SAM's padded square [B, side, side], 0 in the pad."""
    height, width = fitted_size(kinds.shape[1], kinds.shape[2], side)
    scaled = F.interpolate(kinds.unsqueeze(1).float(), (height, width), mode="nearest")
    return F.pad(scaled, (0, side - width, 0, side - height)).squeeze(1).long()


def _patch_kinds(kinds: Tensor, side: int, grid: tuple[int, int], count: int) -> Tensor:
    """Return the most frequent kind of each patch, int64 [B, N]."""
    square = _square_kinds(kinds, side)
    shares = F.one_hot(square, count + 1).permute(0, 3, 1, 2).float()
    return F.adaptive_avg_pool2d(shares, grid).argmax(1).flatten(1)

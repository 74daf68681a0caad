"""The stages of training: encoder, dense model, attention, adapters, prune decoder (VLTP, 4.3).

The paper starts from SAM's own encoder and LLaVA, which gets adapters. The tabletop model starts
from nothing: its encoder first learns to tell the kinds of object apart.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vltp_ros.checkpoints.adapters import adapter_parameters, train_words
from vltp_ros.network.csp import CspConfig
from vltp_ros.network.preprocessing import (
    fitted_size,
    to_image_frame,
    to_llava_frame,
    to_square_frame,
)
from vltp_ros.network.prune_decoder import WIDTH
from vltp_ros.network.token_selection import fixed_budget, oracle_scores
from vltp_ros.network.vltp import Vltp
from vltp_ros.training.batches import Batch, CachedBatch
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.losses import attention_loss, mask_loss, pruning_loss
from vltp_ros.training.public_batches import ExpressionBatch

MASK_STRIDES = {"half": 2, "input": 1}
"""``mask_size`` of a training -> SAM's input's side / the side that masks are compared at."""


class KindHead(nn.Module):
    """Names the kind of object at each quarter-resolution pixel."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(WIDTH, (classes + 1) * 16, 1)

    def loss(self, features: Tensor, kinds: Tensor) -> Tensor:
        """Return the cross-entropy of features [B, 256, g, g] against kinds [B, H, W]."""
        logits = F.pixel_shuffle(self.conv(features), 4).float()
        height, width = fitted_size(kinds.shape[-2], kinds.shape[-1], logits.shape[-1])
        target = F.interpolate(kinds.unsqueeze(1).float(), (height, width)).squeeze(1).long()
        # Between equal pixels and equal kinds: thin things count, rare ones do not dominate.
        weight = torch.bincount(target.flatten(), minlength=logits.shape[1]).clamp(min=1) ** -0.5
        return F.cross_entropy(logits[..., :height, :width], target, weight)


class EncoderStage(nn.Module):
    """The image encoder alone: name the kind of object at each quarter-resolution pixel.

    In edition 2 that is its kind and state.
    """

    trained: tuple[str, ...] = ("image_encoder",)

    def __init__(self, model: Vltp, config: TrainConfig, classes: int, attributes: int) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.kind_head = KindHead(classes).to(model.pixel_mean.device)
        train_only(model, self.trained)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Return losses by name; ``loss`` is the one to minimise."""
        features = self.model.dense_features(batch.images)
        kind = self.kind_head.loss(features, batch.kinds)
        return {"loss": kind, "kind": kind}


class DenseStage(EncoderStage):
    """Everything but the pruned half.

    Two auxiliary losses name the kinds, of the objects from the features and of those that serve
    the task from <SEG>: what both say in the same words, the mask decoder soon learns to match.
    Masks alone are stuck for long where every object is as likely as the next.
    """

    trained = ("reasoner", "image_encoder", "mask_decoder", "prompt_encoder.no_mask_embed")

    def __init__(self, model: Vltp, config: TrainConfig, classes: int, attributes: int) -> None:
        super().__init__(model, config, classes, attributes)
        self.task_head = nn.Linear(WIDTH, attributes, device=model.pixel_mean.device)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Return losses by name; ``loss`` is their weighted sum."""
        model = self.model
        features = model.dense_features(batch.images)
        seg = model.reasoner(batch.images, batch.tasks)
        mask = dense_mask_loss(model, features, seg, batch, self.config.mask_size)
        kind = self.kind_head.loss(features, batch.kinds)
        serving = F.binary_cross_entropy_with_logits(
            self.task_head(seg[:, 0]).float(), batch.serving
        )
        loss = mask + self.config.kind_weight * (kind + serving)
        return {"loss": loss, "mask": mask, "kind": kind, "serving": serving}


class AttentionStage(nn.Module):
    """LLaVA looks at what serves the task, and <SEG> stays what it was.

    The tabletop model's <SEG> says which kinds of objects serve, for which LLaVA need not look at
    them. Attention-guided pruning needs it to, as models do whose <SEG> alone says where.
    """

    trained = ("reasoner.llava",)

    def __init__(self, model: Vltp, config: TrainConfig) -> None:
        super().__init__()
        self.model, self.config = model, config
        train_only(model, self.trained)
        self.before = copy.deepcopy(model.reasoner).requires_grad_(False)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Return losses by name; ``loss`` is their weighted sum."""
        reasoner = self.model.reasoner
        with torch.no_grad():
            expected = self.before(batch.images, batch.tasks).float()
        output = reasoner.reason(
            reasoner.encode_image(batch.images), batch.tasks, output_attentions=True
        )
        assert output.attention is not None
        change = (output.seg.float() - expected).square().mean() / expected.square().mean()
        side = reasoner.llava.model.vision_tower.config.image_size
        share = to_llava_frame(batch.masks.float(), side, reasoner.framing)
        share = F.adaptive_avg_pool2d(share, output.attention.shape[-1])
        attention = attention_loss(output.attention.float(), share)
        loss = attention + self.config.seg_weight * change
        return {"loss": loss, "attention": attention, "change": change}


class LoraStage(nn.Module):
    """LLaVA's adapters, the <SEG> projection and the mask decoder, all else frozen.

    Unless asked for, no logits are computed and words stay as the base model has them: training
    only those that the data happens to use pulls them away from the rest. With ``token_weight``
    LLaVA learns to say its forced answer, with ``train_words`` embeddings and head learn, as the
    authors have both.
    """

    trained = ("reasoner.projection", "mask_decoder")

    def __init__(self, model: Vltp, config: TrainConfig) -> None:
        """Let adapters, projection and mask decoder learn, and nothing else.

        Args:
            model: with adapters on LLaVA, whose own weights may be quantised.
            config: says whether to store what LLaVA's layers compute.
        """
        super().__init__()
        self.model, self.config = model, config
        train_only(model, self.trained)
        for parameter in adapter_parameters(model.reasoner.llava):
            parameter.requires_grad_(True)
        if config.train_words:
            train_words(model.reasoner.llava, head=bool(config.token_weight))
        for layer in model.reasoner.llava.model.language_model.layers:
            layer.gradient_checkpointing = config.gradient_checkpointing

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Return losses by name; ``loss`` is the one to minimise."""
        model = self.model
        with torch.no_grad():
            features = model.dense_features(batch.images)
            image_tokens = model.reasoner.encode_image(batch.images)
        if not self.config.token_weight:
            seg = model.reasoner.reason(image_tokens, batch.tasks).seg
            mask = dense_mask_loss(model, features, seg, batch, self.config.mask_size)
            return {"loss": mask, "mask": mask}
        answer = model.reasoner.answer(image_tokens, batch.tasks)
        mask = dense_mask_loss(model, features, answer.seg, batch, self.config.mask_size)
        token = F.cross_entropy(answer.logits.float(), answer.labels)
        return {"loss": mask + self.config.token_weight * token, "mask": mask, "token": token}


class PrunedStage(nn.Module):
    """Prune decoder and mask decoder, or the former alone, all else frozen (Eq. 12).

    The forward pass keeps the hard top-k. L_P reaches the prune decoder through its soft scores,
    L_X does if ``top_k`` is soft (:func:`~vltp_ros.network.sam.soft_top_k`).
    """

    trained = ("prune_decoder", "pruned_mask_decoder")
    finetuned = ("pruned_mask_decoder",)
    """Starts from the dense decoder: at full rates it would lose what that has learnt."""

    def __init__(self, model: Vltp, config: TrainConfig, rates: Sequence[float] = ()) -> None:
        """Let the pruned half learn, and nothing else.

        Args:
            model: with a pruned half.
            config: settings of the run.
            rates: of each stage, in all steps; (): each step draws one of the settings' for all.

        Raises:
            ValueError: where tokens are not to return, and there is no second stage to return at.
        """
        super().__init__()
        self.model, self.config, self.rates = model, config, tuple(rates)
        self.prune_after = model.config.pruning.prune_after
        if config.no_return and len(self.prune_after) < 2:
            where = " ".join(map(str, self.prune_after)) or "no layer"
            raise ValueError(f"--no-return is given; tokens are selected after {where} alone")
        train_only(model, self.trained[:1] if config.freeze_mask_decoder else self.trained)

    def train(self, mode: bool = True) -> PrunedStage:
        """Set the mode of all but LLaVA, which stays as it will be used: an adapter has dropout."""
        super().train(mode)
        self.model.reasoner.eval()
        return self

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Return losses by name; ``loss`` is their sum."""
        model, side = self.model, self.model.config.encoder.img_size
        tokens, seg = frozen_inputs(model, batch, self.prune_after, self.config.reasoning)
        tokens = tokens.repeat_interleave(len(batch.tasks[0]), 0)
        drawn = np.random.default_rng([self.config.seed, step]).choice(self.config.rates)
        budget = fixed_budget(self.rates or (drawn,) * len(self.prune_after))
        encoded = model.encode(
            tokens,
            self.prune_after,
            budget,
            model.score(seg),
            returns=not self.config.no_return,
            merges=not self.config.no_merge,
            soft=self.config.top_k == "soft",
        )
        logits, size = model.draw(encoded, seg), self.config.mask_size
        mask = image_mask_loss(logits, batch.masks, side, size, ignored_pixels(batch))
        grid = (model.config.encoder.grid,) * 2
        patches = oracle_scores(to_square_frame(batch.masks, side), grid)
        prune = pruning_loss(encoded.scores, patches)
        return {"loss": mask + prune, "mask": mask, "prune": prune}


@torch.no_grad()
def frozen_inputs(
    model: Vltp, batch: Batch, prune_after: Sequence[int], csp: CspConfig | None = None
) -> tuple[Tensor, Tensor]:
    """Return the tokens [B, N, C] before the first stage and <SEG> [B * T, 1, 256].

    They are computed, unless the batch has them.

    Args:
        model: whose encoder and LLaVA stay as they are.
        batch: B images with T tasks each.
        prune_after: 1-based layers of the stages.
        csp: which image tokens LLaVA's layers process; None: all.
    """
    if isinstance(batch, CachedBatch):
        return batch.tokens, batch.segs
    tokens = model.stem(model.preprocess(batch.images), prune_after)
    return tokens, model.reasoner(batch.images, batch.tasks, csp)


def train_only(model: Vltp, names: tuple[str, ...]) -> None:
    """Let these submodules' parameters require gradients, and no others."""
    model.requires_grad_(False)
    for name in names:
        model.get_submodule(name).requires_grad_(True)


def dense_mask_loss(
    model: Vltp, features: Tensor, seg: Tensor, batch: Batch, mask_size: str = "half"
) -> Tensor:
    """Return L_X of the masks decoded from features [B, 256, g, g] and <SEG> [B * T, 1, 256]."""
    features = features.repeat_interleave(len(batch.tasks[0]), 0)
    logits = model.decode(model.mask_decoder, features, seg)
    side = model.config.encoder.img_size
    return image_mask_loss(logits, batch.masks, side, mask_size, ignored_pixels(batch))


def ignored_pixels(batch: Batch) -> Tensor | None:
    """Return the pixels of the masks that do not count, bool [B * T, H, W]; None: all count."""
    return batch.ignored if isinstance(batch, ExpressionBatch) else None


def image_mask_loss(
    logits: Tensor,
    masks: Tensor,
    side: int,
    mask_size: str = "half",
    ignored: Tensor | None = None,
) -> Tensor:
    """Return L_X over the image; the target of a coarser pixel is how much of it is covered.

    Args:
        logits: [B, h, w] over SAM's padded square.
        masks: bool [B, H, W] over the image.
        side: of the square, pixels.
        mask_size: where they are compared, see TrainConfig.
        ignored: bool [B, H, W], what does not count; None: everything does.
    """
    logits, size = logits.float(), (masks.shape[-2], masks.shape[-1])
    counted = None if ignored is None else (~ignored).float()
    if mask_size == "original":
        return mask_loss(to_image_frame(logits, side, size), masks.float(), counted)
    target_side = side // MASK_STRIDES[mask_size]
    rows, columns = fitted_size(*size, target_side)
    logits = F.interpolate(logits.unsqueeze(1), (target_side,) * 2, mode="bilinear")

    def covered(values: Tensor) -> Tensor:
        return F.interpolate(values.unsqueeze(1), (rows, columns), mode="area").squeeze(1)

    weight = None if counted is None else covered(counted)
    return mask_loss(logits[:, 0, :rows, :columns], covered(masks.float()), weight)

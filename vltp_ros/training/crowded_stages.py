"""Stages for crowded scenes, where the answer depends on the image: LLaVA has to look.

From masks alone it learns what most sentences mean and not to look: an answer that is right on the
average is near, and the way to the right one leads through a vision tower that sees nothing yet.
Two things mend this. The tower first learns to name what its tokens show. Then <SEG> is asked, in
the same words, what the answer is and where, and the language model is told where to look for it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vltp_ros.network.llava import text_config
from vltp_ros.network.prune_decoder import WIDTH, without_autocast
from vltp_ros.network.vltp import Vltp
from vltp_ros.training.attributes import coverage
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.crowded_batches import CrowdedBatch
from vltp_ros.training.losses import attention_loss
from vltp_ros.training.stages import DenseStage, KindHead, dense_mask_loss, train_only

WHERE_WEIGHT = 0.02
"""Of the loss on a token's own place, beside that on what it shows."""

PLACES = 16
"""Cells along each side of the map on which <SEG> says where the answer is."""


class NameHead(nn.Module):
    """Names what each of LLaVA's image tokens shows: several attributes, or none."""

    def __init__(self, width: int, attributes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = _rarely(nn.Linear(width, attributes))

    def loss(self, tokens: Tensor, batch: CrowdedBatch) -> Tensor:
        """Return the cross-entropy of image tokens [B, g * g, D] against what they show.

        The target is the root of an attribute's share of the token: between equal tokens and equal
        objects, so that thin things count.
        """
        shares = shares_of(batch, math.isqrt(tokens.shape[1]), centred=True)
        shown = torch.einsum("bmn,bma->bna", shares.flatten(2), batch.attributes)
        logits = self.linear(self.norm(tokens)).float()
        return F.binary_cross_entropy_with_logits(logits, shown.clamp(0, 1).sqrt())


class WhereHead(nn.Module):
    """Says in which row and column each of LLaVA's image tokens is.

    Naming needs no positions, and a tower that learns nothing else drops them on its way: <SEG>,
    which is made of what the tokens say, could then not say where anything is.
    """

    def __init__(self, width: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, 2 * grid)

    def loss(self, tokens: Tensor) -> Tensor:
        """Return the cross-entropy of image tokens [B, g * g, D] against their places."""
        rows, columns = self.linear(self.norm(tokens)).float().flatten(0, 1).chunk(2, 1)
        numbers = torch.arange(self.grid**2, device=tokens.device).repeat(len(tokens))
        right_rows, right_columns = numbers // self.grid, numbers % self.grid
        return F.cross_entropy(rows, right_rows) + F.cross_entropy(columns, right_columns)


TOWER = ("reasoner.llava.model.vision_tower", "reasoner.llava.model.multi_modal_projector")


class TowerStage(nn.Module):
    """LLaVA's vision tower and projector alone: say what each image token shows, and where it is.

    The language model then finds objects in its image tokens from the start.
    """

    trained = TOWER

    def __init__(self, model: Vltp, config: TrainConfig, classes: int, attributes: int) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.name_head, self.where_head = _token_heads(model, attributes)
        _use_plain_attention(model)
        train_only(model, self.trained)

    def forward(self, batch: CrowdedBatch, step: int) -> dict[str, Tensor]:
        """Return losses by name; ``loss`` is the one to minimise."""
        tokens = self.model.reasoner.encode_image(batch.images).tokens
        name, where = self.name_head.loss(tokens, batch), self.where_head.loss(tokens)
        return {"loss": name + WHERE_WEIGHT * where, "name": name, "where": where}


class ReasonerStage(nn.Module):
    """LLaVA alone: <SEG> says what the answer is and where, and attention lies on it.

    <SEG> says the answer's attributes, of which "nothing" is one, and its place in the positional
    encoding in which the mask decoder reads. Attention is asked for in the second half of the
    layers; the first half stays free to compare. Image tokens go on being named. SAM does not run:
    a step costs a small part of one of the dense stage, to which LLaVA then comes knowing where to
    look.
    """

    trained: tuple[str, ...] = ("reasoner",)
    finetuned: tuple[str, ...] = TOWER
    """Knows how to name things; a language model that knows nothing yet would undo it."""

    def __init__(self, model: Vltp, config: TrainConfig, classes: int, attributes: int) -> None:
        super().__init__()
        self.model, self.config = model, config
        device = model.pixel_mean.device
        self.name_head, self.where_head = _token_heads(model, attributes)
        self.task_head = _rarely(nn.Linear(WIDTH, attributes, device=device))
        self.place_head = nn.Linear(WIDTH, WIDTH, device=device)
        _use_plain_attention(model)
        train_only(model, self.trained)

    def forward(self, batch: CrowdedBatch, step: int) -> dict[str, Tensor]:
        """Return losses by name; ``loss`` is their weighted sum."""
        _, losses = self.look(batch)
        return {"loss": self.weighted(losses), **losses}

    def look(self, batch: CrowdedBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return <SEG> [B * (T + F), 1, 256] and the losses on what it says and attends to."""
        reasoner = self.model.reasoner
        image = reasoner.encode_image(batch.images)
        asked = [row + more for row, more in zip(batch.tasks, batch.further, strict=True)]
        output = reasoner.reason(image, asked, output_attentions=True)
        assert output.attention is not None
        said = self.task_head(output.seg[:, 0]).float()
        shares = answer_shares(batch, output.attention.shape[-1], centred=True)
        return output.seg, {
            "name": self.name_head.loss(image.tokens, batch),
            "where": self.where_head.loss(image.tokens),
            "serving": F.binary_cross_entropy_with_logits(said, batch.serving),
            "place": self.place_loss(output.seg, batch),
            "attention": attention_loss(output.attention.float(), shares),
        }

    def place_loss(self, seg: Tensor, batch: CrowdedBatch) -> Tensor:
        """Return the cross-entropy of the map that <SEG> [R, 1, 256] gives against the answer's.

        The map is a product with SAM's positional encodings of PLACES x PLACES cells of its square.
        Questions that nothing answers do not count.
        """
        said = self.place_head(seg[:, 0]).float()
        with without_autocast(said):
            positions = self.model.prompt_encoder.pe_layer((PLACES, PLACES))
            logits = torch.einsum("rc,chw->rhw", said, positions) / math.sqrt(WIDTH / 2)
        place = logits.flatten(1).softmax(-1).view_as(logits)
        return attention_loss(place, answer_shares(batch, PLACES, centred=False))

    def weighted(self, losses: dict[str, Tensor]) -> Tensor:
        """Return the sum of losses, each with its weight in the settings."""
        config = self.config
        weights = {
            "mask": 1.0,
            "where": WHERE_WEIGHT * config.kind_weight,
            "place": config.place_weight,
            "attention": config.attention_weight,
        }
        parts = [weights.get(name, config.kind_weight) * loss for name, loss in losses.items()]
        return torch.stack(parts).sum()


class LookingStage(ReasonerStage):
    """Everything but the pruned half: the mask, the kinds at each pixel, and where LLaVA looks.

    Further tasks on the same image cost a few tokens of text each, where one that is drawn costs a
    pass of the mask decoder. An image encoder that knows its kinds can stay as it is at first: a
    step is then a third cheaper.
    """

    trained = DenseStage.trained
    finetuned = ("reasoner",)
    """Knows how to look; at full rates it would forget while the mask decoder knows nothing yet."""

    def __init__(self, model: Vltp, config: TrainConfig, classes: int, attributes: int) -> None:
        super().__init__(model, config, classes, attributes)
        self.kind_head = KindHead(classes).to(model.pixel_mean.device)
        train_only(model, self.trained)
        if config.freeze_encoder:
            model.image_encoder.requires_grad_(False)
            self.kind_head.requires_grad_(False)

    def forward(self, batch: CrowdedBatch, step: int) -> dict[str, Tensor]:
        """Return losses by name; ``loss`` is their weighted sum."""
        features = self.model.dense_features(batch.images)
        seg, losses = self.look(batch)
        drawn = seg.unflatten(0, (len(batch.tasks), -1))[:, : len(batch.tasks[0])].flatten(0, 1)
        losses["mask"] = dense_mask_loss(self.model, features, drawn, batch, self.config.mask_size)
        if not self.config.freeze_encoder:
            losses["kind"] = self.kind_head.loss(features, batch.kinds)
        return {"loss": self.weighted(losses), **losses}


def _rarely(head: nn.Linear) -> nn.Linear:
    """Let a head start by saying no: of many attributes, few are true of one thing."""
    nn.init.constant_(head.bias, -4.0)
    return head


def _use_plain_attention(model: Vltp) -> None:
    """Let transformers' vision tower attend by plain products on a CPU, as what is ours does."""
    if model.pixel_mean.device.type == "cpu":
        model.reasoner.llava.model.vision_tower.set_attn_implementation("eager")


def _token_heads(model: Vltp, attributes: int) -> tuple[NameHead, WhereHead]:
    reasoner, device = model.reasoner, model.pixel_mean.device
    width = text_config(reasoner.llava.config).hidden_size
    where = WhereHead(width, math.isqrt(reasoner.image_tokens))
    return NameHead(width, attributes).to(device), where.to(device)


def shares_of(batch: CrowdedBatch, grid: int, centred: bool) -> Tensor:
    """Return how much of each cell no object and each object covers, [B, M + 1, grid, grid].

    Cells are those of LLaVA's square, or of SAM's if not centred.
    """
    return coverage(batch.labels, batch.answers.shape[2] - 1, grid, centred)


def answer_shares(batch: CrowdedBatch, grid: int, centred: bool) -> Tensor:
    """Return how much of each cell the answers cover, [R, grid, grid]; 0 where nothing serves."""
    shares, answers = shares_of(batch, grid, centred)[:, 1:], batch.answers[:, :, 1:].float()
    return torch.einsum("bqm,bmhw->bqhw", answers, shares).flatten(0, 1)

"""SAM whose image encoder prunes: stem, scores, stages, mask decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    TwoWayTransformer,
)
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom
from torch import Tensor, nn

from vltp_ros.network.config import DecoderConfig, EncoderConfig, ModelConfig
from vltp_ros.network.convolutions import run_convolutions
from vltp_ros.network.encoder import PrunedImageEncoder
from vltp_ros.network.preprocessing import sam_input
from vltp_ros.network.prune_decoder import WIDTH, PruneDecoder, dense_positions
from vltp_ros.network.run import Run, eager
from vltp_ros.network.token_selection import Budget, Score, top_k
from vltp_ros.network.two_way import run_two_way

NO_PRUNE_DECODER = (
    "{} has no trained prune decoder; attention-guided pruning (selector attention) works without "
    "one, rate 0 prunes nothing, and vltp train --stage prune makes one"
)


@dataclass(frozen=True)
class Encoded:
    """An image encoded for each of T tasks."""

    tokens: Tensor  # [T, N, C], after the last block
    kept: tuple[Tensor, ...]  # per stage: int64 [T, k]
    scores: tuple[Tensor, ...]  # per stage: [T, N], what the tokens were ranked by


class PrunedSam(nn.Module):
    """SAM, built from segment_anything's modules in any size, with a prune decoder.

    Two mask decoders: ``mask_decoder`` was trained on features of the dense encoder and draws when
    nothing is pruned; ``pruned_mask_decoder`` was fine-tuned with the prune decoder (Table 3).
    Where nobody has trained these two, both are None, and ``mask_decoder`` draws always.
    """

    pixel_mean: Tensor  # [3], 0..255
    pixel_std: Tensor

    def __init__(self, config: ModelConfig, pruned_half: bool = True) -> None:
        """Make the modules, with random weights.

        Args:
            config: sizes; weights are random.
            pruned_half: with prune decoder and ``pruned_mask_decoder``.
        """
        super().__init__()
        self.config = config
        self.run: Run = eager
        """How stem, scores, stages and mask decoder are run."""
        self.image_encoder = build_image_encoder(config.encoder)
        self.prompt_encoder = build_prompt_encoder(config.encoder)
        self.mask_decoder = build_mask_decoder(config.mask_decoder)
        self.pruned_mask_decoder: MaskDecoder | None = None
        self.prune_decoder: PruneDecoder | None = None
        if pruned_half:
            self.inherit()
        self.register_buffer("pixel_mean", torch.tensor(config.pixel_mean), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(config.pixel_std), persistent=False)

    def inherit(self) -> None:
        """Start the pruned half from the dense one: decoder weights, positions, no-mask prompt.

        A model without a pruned half gets one, the rest of its weights random.
        """
        if self.prune_decoder is None or self.pruned_mask_decoder is None:
            config, device = self.config, self.mask_decoder.iou_token.weight.device
            prune_decoder = PruneDecoder(config.encoder.embed_dim, config.prune_decoder)
            self.prune_decoder = prune_decoder.to(device)
            self.pruned_mask_decoder = build_mask_decoder(config.mask_decoder).to(device)
        self.pruned_mask_decoder.load_state_dict(self.mask_decoder.state_dict())
        if self.config.prune_decoder.width != WIDTH:
            return
        self.prune_decoder.position.load_state_dict(self.prompt_encoder.pe_layer.state_dict())
        self.prune_decoder.no_mask.load_state_dict(self.prompt_encoder.no_mask_embed.state_dict())

    @property
    def dtype(self) -> torch.dtype:
        """The type that SAM computes in."""
        return self.image_encoder.patch_embed.proj.weight.dtype

    def cast(self, dtype: torch.dtype) -> None:
        """Keep SAM's weights in a type and compute in it; once, as a shorter one loses digits.

        Positions stay float32 (the table that is added to the patches, and the frequencies of the
        decoders' encoding), and so does what is computed from the weights in float32 whatever their
        type: the statistics of all norms, scores, and the product that draws the mask.
        """
        pruned_half = (self.prune_decoder, self.pruned_mask_decoder)
        for part in (self.image_encoder, self.prompt_encoder, self.mask_decoder, *pruned_half):
            for module in part.modules() if part is not None else ():
                if not isinstance(module, (ImageEncoderViT, PositionEmbeddingRandom)):
                    module._apply(lambda tensor: tensor.to(dtype), recurse=False)

    def preprocess(self, images: Tensor) -> Tensor:
        """Turn uint8 [B, 3, H, W] RGB into the encoder's input, float [B, 3, S, S]."""
        return sam_input(images, self.config.encoder.img_size, self.pixel_mean, self.pixel_std)

    def dense_features(self, images: Tensor) -> Tensor:
        """Encode uint8 [B, 3, H, W] RGB images, pruning nothing: features [B, 256, g, g]."""
        features: Tensor = self.encoder(())(self.preprocess(images)).features
        return features

    def encoder(self, prune_after: Sequence[int]) -> PrunedImageEncoder:
        """Return the image encoder with stages after the given 1-based layers."""
        return PrunedImageEncoder(self.image_encoder, prune_after)

    def stem(self, square: Tensor, prune_after: Sequence[int]) -> Tensor:
        """Run the encoder's input [B, 3, S, S] up to the first stage: tokens [B, N, C]."""
        stages = tuple(prune_after)
        return self.run(("stem", stages), self.encoder(stages).stem, square)

    def score(self, seg: Tensor) -> Score:
        """Return the prune decoder's ranking for <SEG> embeddings [T, 1, 256].

        It raises ValueError where it is asked to rank and the model has no prune decoder: a dense
        run ranks nothing.
        """
        grid = (self.config.encoder.grid, self.config.encoder.grid)

        def rank(stage: int, tokens: Tensor) -> Tensor:
            if self.prune_decoder is None:
                raise ValueError(NO_PRUNE_DECODER.format(self.config.name))
            return self.run(("score",), partial(self.prune_decoder, grid=grid), tokens, seg)

        return rank

    def encode(
        self,
        tokens: Tensor,
        prune_after: Sequence[int],
        budget: Budget,
        score: Score,
        *,
        returns: bool = True,
        merges: bool = True,
        soft: bool = False,
    ) -> Encoded:
        """Finish the encoding of the tokens of :meth:`stem`, once for each task.

        Without either half of the reactivation of VLTP, Section 4.4, for ablations.

        Args:
            tokens: [T, N, C], one row for each task.
            prune_after: 1-based layers; () does not prune.
            budget: how many tokens each stage keeps.
            score: ranks the tokens, e.g. :meth:`score`.
            returns: whether what a stage leaves out may be kept by the next.
            merges: whether what the last stage leaves out joins the others in the end; else zeros
                are in its place.
            soft: let gradients reach the scores, see :func:`soft_top_k`; no value changes.
        """
        stages = tuple(prune_after)
        encoder = self.encoder(stages)
        kept: list[Tensor] = []
        scores: list[Tensor] = []
        for stage in range(len(stages)):
            scores.append(score(stage, tokens))
            ranking = scores[-1]
            if kept and not returns:
                ranking = ranking.masked_fill(_left_out(kept[-1], tokens), -torch.inf)
            count = budget(stage, ranking)
            if kept and not returns:
                count = min(count, kept[-1].shape[1])
            advance = partial(_advance, encoder, stage, count, soft)
            key = ("stage", stages, stage, count)
            tokens, positions = self.run(key, advance, tokens, ranking)
            kept.append(positions)
        if kept and not merges:
            tokens = tokens.masked_fill(_left_out(kept[-1], tokens).unsqueeze(-1), 0.0)
        return Encoded(tokens, tuple(kept), tuple(scores))

    def draw(self, encoded: Encoded, seg: Tensor) -> Tensor:
        """Draw mask logits [T, S/4, S/4] in SAM's padded square.

        Args:
            encoded: from :meth:`encode`.
            seg: <SEG> embeddings [T, 1, 256].
        """
        pruned = bool(encoded.kept) and self.pruned_mask_decoder is not None
        decoder = self.pruned_mask_decoder if pruned else self.mask_decoder

        def draw(tokens: Tensor, seg: Tensor) -> Tensor:
            return self.decode(decoder, self.encoder(()).merge(tokens), seg)

        return self.run(("draw", pruned), draw, encoded.tokens, seg)

    def decode(self, decoder: MaskDecoder, features: Tensor, seg: Tensor) -> Tensor:
        """Run :func:`decode` with this model's positions and no-mask prompt."""
        return decode(decoder, self.prompt_encoder, features, seg)


def _left_out(positions: Tensor, tokens: Tensor) -> Tensor:
    """Return bool [T, N]: which of the tokens [T, N, C] are at none of the positions [T, k]."""
    everywhere = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    return everywhere.scatter(1, positions, False)


def _advance(
    encoder: PrunedImageEncoder,
    stage: int,
    count: int,
    soft: bool,
    tokens: Tensor,
    scores: Tensor,
) -> tuple[Tensor, Tensor]:
    """Run the ``count`` best of the tokens [T, N, C] through a stage, see :func:`soft_top_k`.

    Returns:
        [T, N, C] and the positions int64 [T, count] of those that ran.
    """
    positions = top_k(scores, count)
    advanced = encoder.advance(stage, tokens, positions)
    return (soft_top_k(tokens, advanced, scores) if soft else advanced), positions


def soft_top_k(tokens: Tensor, advanced: Tensor, scores: Tensor) -> Tensor:
    """Smooth Eq. 11 by a sigmoid, for gradients only: T + P (T' - T), P = 1 + s - stop(s).

    T are the tokens before a stage and T' those after it, s is the sigmoid of their scores. P is 1
    in value, so the kept tokens are those of the hard top-k and a model trains on what it computes
    in use; its gradient is that of the sigmoid, by which L_X tells the prune decoder whether a
    token's change was of use. Frozen tokens have not changed and tell nothing. The paper says
    only that a sigmoid smooths Eq. 11 in training, not that values become soft, too.

    Args:
        tokens: [T, N, C] before the stage.
        advanced: [T, N, C] after it.
        scores: logits [T, N].
    """
    share = scores.sigmoid().unsqueeze(-1)
    return advanced + (share - share.detach()).to(advanced.dtype) * (advanced - tokens)


def decode(decoder: MaskDecoder, prompts: PromptEncoder, features: Tensor, seg: Tensor) -> Tensor:
    """Draw mask logits, float32 [T, S/4, S/4], of T prompts.

    SAM's own ``predict_masks`` pairs many prompts with one image; here each prompt has its own
    features.

    Args:
        decoder: whose first mask token (``multimask_output=False``) is drawn.
        prompts: gives positions and the no-mask prompt.
        features: [T, 256, g, g].
        seg: <SEG> embeddings [T, 1, 256].
    """
    output = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    points = torch.cat([output.expand(len(seg), -1, -1), seg.to(output)], 1)
    image = features + prompts.no_mask_embed.weight[..., None, None]
    position = dense_positions(prompts.pe_layer, image)
    points, image_tokens = run_two_way(decoder.transformer, image, position, points)
    square = image_tokens.transpose(1, 2).view_as(image)
    drawn = run_convolutions(decoder.output_upscaling, square)
    weights = decoder.output_hypernetworks_mlps[0](points[:, 1])
    return torch.einsum("tc,tchw->thw", weights.float(), drawn.float())


def build_image_encoder(config: EncoderConfig) -> ImageEncoderViT:
    """Build segment_anything's image encoder in the given sizes, with random weights."""
    return ImageEncoderViT(
        img_size=config.img_size,
        patch_size=config.patch_size,
        embed_dim=config.embed_dim,
        depth=config.depth,
        num_heads=config.num_heads,
        out_chans=config.out_chans,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=config.window_size,
        global_attn_indexes=config.global_attn_indexes,
    )


def build_prompt_encoder(config: EncoderConfig) -> PromptEncoder:
    """Build segment_anything's prompt encoder for the given image size, with random weights."""
    grid, side = config.grid, config.img_size
    return PromptEncoder(WIDTH, (grid, grid), (side, side), 16)


def build_mask_decoder(config: DecoderConfig) -> MaskDecoder:
    """Build segment_anything's mask decoder in the given sizes, with random weights."""
    return MaskDecoder(
        transformer_dim=WIDTH,
        transformer=TwoWayTransformer(config.depth, WIDTH, config.num_heads, config.mlp_dim),
        num_multimask_outputs=config.num_multimask_outputs,
        iou_head_hidden_dim=config.iou_head_hidden_dim,
    )

"""Sizes and default settings of the network: what ``model.yaml`` says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from vltp_ros.settings import check, documented, setting


@documented
@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of a ``segment_anything.modeling.ImageEncoderViT``."""

    img_size: int = setting(1024, "side of the square input, pixels", low=16)
    patch_size: int = setting(16, "side of a patch, pixels", choices=(16,))
    embed_dim: int = setting(768, "token width", low=8)
    depth: int = setting(12, "transformer blocks", low=1)
    num_heads: int = setting(12, "attention heads", low=1)
    global_attn_indexes: tuple[int, ...] = setting((2, 5, 8, 11), "0-based global blocks", low=0)
    window_size: int = setting(14, "side of an attention window, patches", low=1)
    out_chans: int = setting(256, "feature channels after the neck", choices=(256,))

    def __post_init__(self) -> None:
        check(self)
        if self.img_size % self.patch_size:
            raise ValueError(
                f"EncoderConfig.img_size is {self.img_size}; it must be a multiple of "
                f"patch_size {self.patch_size}"
            )
        if self.embed_dim % self.num_heads:
            raise ValueError(
                f"EncoderConfig.embed_dim is {self.embed_dim}; it must be a multiple of "
                f"num_heads {self.num_heads}"
            )

    @property
    def grid(self) -> int:
        """Patches along one side of the input."""
        return self.img_size // self.patch_size


SAM_ENCODERS = {
    "tabletop": EncoderConfig(512, 16, 192, 8, 3, (1, 3, 5), 8),
    "vit_b": EncoderConfig(1024, 16, 768, 12, 12, (2, 5, 8, 11), 14),
    "vit_l": EncoderConfig(1024, 16, 1024, 24, 16, (5, 11, 17, 23), 14),
    "vit_h": EncoderConfig(1024, 16, 1280, 32, 16, (7, 15, 23, 31), 14),
}
"""Name -> sizes; all but ``tabletop`` are Meta's."""


DEFAULT_PRUNE_AFTER = {
    "tabletop": (4, 6),
    "vit_b": (6, 9),
    "vit_l": (12, 18),
    "vit_h": (16, 24),
}
"""Name -> 1-based layers after which tokens are selected: half and three quarters of the depth."""


@documented
@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of SAM's mask decoder."""

    depth: int = setting(2, "two-way blocks", low=1)
    num_heads: int = setting(8, "attention heads", low=1)
    mlp_dim: int = setting(2048, "hidden width of the two-way blocks' MLP", low=1)
    num_multimask_outputs: int = setting(3, "masks beside the single-mask output", low=1)
    iou_head_hidden_dim: int = setting(256, "hidden width of the IoU head", low=1)

    def __post_init__(self) -> None:
        check(self)


MASK_DECODERS = {name: DecoderConfig() for name in SAM_ENCODERS} | {
    "tabletop": DecoderConfig(mlp_dim=256, num_multimask_outputs=1, iou_head_hidden_dim=64)
}
"""Name of the encoder -> sizes; Meta's for Meta's encoders."""


@documented
@dataclass(frozen=True)
class PruneDecoderConfig:
    """Sizes of the prune decoder (VLTP, Fig. 3b)."""

    width: int = setting(256, "width d of its tokens, a multiple of 2 * num_heads", low=4)
    depth: int = setting(2, "two-way blocks", low=1)
    num_heads: int = setting(8, "attention heads", low=1)
    mlp_dim: int = setting(2048, "hidden width of the two-way blocks' MLP", low=1)

    def __post_init__(self) -> None:
        check(self)
        if self.width % (2 * self.num_heads):
            raise ValueError(
                f"PruneDecoderConfig.width is {self.width}; it must be a multiple of "
                f"2 * num_heads, {2 * self.num_heads}"
            )


PRUNE_DECODERS = {name: PruneDecoderConfig() for name in SAM_ENCODERS} | {
    "tabletop": PruneDecoderConfig(width=64, num_heads=4, mlp_dim=256)
}
"""Name of the encoder -> sizes; the paper's for Meta's encoders."""


Ranking = Literal["prune_decoder", "attention"]
RANKINGS = get_args(Ranking)
"""What can rank a model's image tokens: VLTP's prune decoder, or LLaVA's attention to the image,
which needs no training."""


@documented
@dataclass(frozen=True)
class PruningConfig:
    """Where and how much the encoder prunes (VLTP, Section 4.2)."""

    prune_after: tuple[int, ...] = setting((), "1-based layers after which tokens are selected")
    rates: tuple[float, ...] = setting((), "share of tokens frozen after each, 0 <= rate < 1")
    selector: Ranking = setting("prune_decoder", "what ranks the tokens", choices=RANKINGS)
    adaptive: bool = setting(False, "keep as many tokens as matter, whatever the rates")
    shares: tuple[float, ...] = setting(
        (0.1, 0.2, 0.3, 0.5, 0.75, 1.0),
        "adaptive: the shares of the tokens to choose from, ascending",
        low=0.0,
        high=1.0,
    )
    relevance: float = setting(
        0.1, "adaptive: tokens of at least this relevance are kept", low=0.001, high=0.999
    )
    multiple: int = setting(
        1, "kept tokens are rounded up to a multiple of this; 8 or 128 may suit a GPU", low=1
    )
    hysteresis: float = setting(
        2.0, "added to the logits of tokens in or next to the last mask of a video", low=0.0
    )

    def __post_init__(self) -> None:
        check(self)
        check_stages(self.prune_after, self.rates)


def check_stages(prune_after: tuple[int, ...], rates: tuple[float, ...]) -> None:
    """Raise ValueError unless layers ascend from 1 and each has a rate in [0, 1)."""
    if list(prune_after) != sorted(set(prune_after)) or any(a < 1 for a in prune_after):
        raise ValueError(
            f"prune_after is {tuple(prune_after)}; it must be ascending 1-based layer numbers"
        )
    if len(rates) != len(prune_after):
        raise ValueError(
            f"rates has {len(rates)} values {tuple(rates)}; one is needed for each of the "
            f"{len(prune_after)} layers in prune_after {tuple(prune_after)}"
        )
    for rate in rates:
        if not 0 <= rate < 1:
            raise ValueError(f"rate is {rate}; it must be at least 0 and below 1")


@documented
@dataclass(frozen=True)
class LlavaSizes:
    """Sizes of transformers' LLaVA: a LLaMA behind a CLIP vision tower."""

    width: int = setting(4096, "of the language model's tokens", low=8)
    mlp: int = setting(11008, "hidden width of its MLPs", low=8)
    layers: int = setting(32, "decoder layers", low=2)
    heads: int = setting(32, "attention heads", low=1)
    vocabulary: int = setting(32004, "tokens, [SEG] included", low=8)
    context: int = setting(2048, "longest sequence, tokens", low=8)
    image_size: int = setting(224, "side of the vision tower's input, pixels", low=8)
    patch_size: int = setting(14, "side of a patch, pixels", low=1)
    vision_width: int = setting(1024, "of the vision tower's tokens", low=8)
    vision_mlp: int = setting(4096, "hidden width of its MLPs", low=8)
    vision_layers: int = setting(24, "its layers", low=1)
    vision_heads: int = setting(16, "its attention heads", low=1)
    feature_layer: int = setting(-2, "of its hidden states, which becomes image tokens")
    stem: tuple[tuple[int, int, int], ...] = setting(
        (), "channels, stride and blocks of each part of a ConvStem; none: CLIP's one convolution"
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def image_tokens(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.patch_size) ** 2


CROWDED_STEM = ((48, 5, 1), (96, 2, 2), (192, 2, 1))
"""Channels, stride and blocks of each part of the crowded LLaVA's stem."""

LLAVA_SIZES = {
    "tabletop": LlavaSizes(128, 384, 8, 4, 1024, 512, 192, 24, 128, 384, 4, 4, -1),
    "crowded": LlavaSizes(192, 384, 8, 6, 1024, 512, 320, 20, 192, 512, 2, 6, -1, CROWDED_STEM),
    "1b": LlavaSizes(2048, 5632, 22, 32),
    "7b": LlavaSizes(),
    "13b": LlavaSizes(5120, 13824, 40, 40, context=4096),
}
"""Name -> sizes: LISA-7B's and -13B's, those of a language model of 1.1 billion parameters behind
the same vision tower, the model that ships, and one for the crowded scenes of edition 2, where the
answer depends on the image: 256 image tokens, and twice the weights to compare what they show."""


Quantization = Literal["float32", "bfloat16", "int8", "nf4"]
QUANTIZATIONS = get_args(Quantization)
"""LLaVA's weights: 32, 16, 8 (LLM.int8) or 4 bits (NF4, double quantisation)."""

AutoQuantization = Literal["auto", Quantization]
AUTO_QUANTIZATIONS = get_args(AutoQuantization)
"""Those, and auto: bfloat16 on a GPU where it fits, else nf4; on a CPU what the model says."""

TrainingQuantization = Literal["float32", "bfloat16", "nf4"]
TRAINING_QUANTIZATIONS = get_args(TrainingQuantization)
"""LLaVA's weights where it is frozen, or only adapters on it learn; int8 computes in float16, whose
range is too small for training."""


@documented
@dataclass(frozen=True)
class CalibrationConfig:
    """Slope and offset by which the log odds of a raw score become those of being right.

    Fitted by ``vltp reliability --fit`` (Platt, 1999); 1 and 0 leave scores as they are.
    """

    found: tuple[float, ...] = setting(
        (1.0, 0.0), "of the mean probability inside a mask", low=-100.0, high=100.0
    )
    nothing: tuple[float, ...] = setting(
        (1.0, 0.0), "of 1 less the highest probability of an empty mask", low=-100.0, high=100.0
    )

    def __post_init__(self) -> None:
        check(self)
        for name in ("found", "nothing"):
            value = getattr(self, name)
            if len(value) != 2 or value[0] < 0:
                raise ValueError(
                    f"CalibrationConfig.{name} is {value}; it must be a slope, not negative, and "
                    "an offset"
                )


@documented
@dataclass(frozen=True)
class ModelConfig:
    """What ``model.yaml`` in a model directory says, checksums and provenance aside."""

    name: str = setting("tabletop", "shown in messages and diagnostics")
    encoder: EncoderConfig = field(
        default_factory=EncoderConfig,
        metadata={"nested": EncoderConfig, "description": "SAM's image encoder"},
    )
    mask_decoder: DecoderConfig = field(
        default_factory=DecoderConfig,
        metadata={"nested": DecoderConfig, "description": "SAM's mask decoder"},
    )
    prune_decoder: PruneDecoderConfig = field(
        default_factory=PruneDecoderConfig,
        metadata={"nested": PruneDecoderConfig, "description": "the prune decoder"},
    )
    pruning: PruningConfig = field(
        default_factory=PruningConfig,
        metadata={"nested": PruningConfig, "description": "default stages and rates"},
    )
    pixel_mean: tuple[float, ...] = setting(
        (123.675, 116.28, 103.53), "RGB mean, 0..255", low=0.0, high=255.0
    )
    pixel_std: tuple[float, ...] = setting(
        (58.395, 57.12, 57.375), "RGB deviation, 0..255", low=0.01, high=255.0
    )
    prompt: str = setting(
        "USER: {image} {task} ASSISTANT: [SEG]",
        "one forced-answer turn: {image} and {task} are filled in, [SEG] is read out",
    )
    quantization: Quantization = setting(
        "float32", "LLaVA's weights in memory", choices=QUANTIZATIONS
    )
    framing: str = setting("pad", "how the image is made square for LLaVA", choices=("pad", "crop"))
    threshold: float = setting(0.5, "mask where the probability exceeds this", low=0.0, high=1.0)
    words: str = setting(
        "", "all words of the sentences it was trained on, where they are few; empty: not listed"
    )
    calibration: CalibrationConfig = field(
        default_factory=CalibrationConfig,
        metadata={"nested": CalibrationConfig, "description": "how sure answers are"},
    )

    def __post_init__(self) -> None:
        check(self)
        for part in ("{image}", "{task}", "[SEG]"):
            if self.prompt.count(part) != 1:
                raise ValueError(f"ModelConfig.prompt is {self.prompt!r}; it needs one {part}")
        late = [a for a in self.pruning.prune_after if a >= self.encoder.depth]
        if late:
            raise ValueError(
                f"prune_after is {self.pruning.prune_after}; a layer must be below the "
                f"encoder's depth {self.encoder.depth}"
            )


def model_config(name: str) -> ModelConfig:
    """Return the configuration of a network around one of ``SAM_ENCODERS``.

    Each stage freezes half of the tokens.
    """
    stages = DEFAULT_PRUNE_AFTER[name]
    return ModelConfig(
        name=name,
        encoder=SAM_ENCODERS[name],
        mask_decoder=MASK_DECODERS[name],
        prune_decoder=PRUNE_DECODERS[name],
        pruning=PruningConfig(stages, (0.5,) * len(stages)),
    )

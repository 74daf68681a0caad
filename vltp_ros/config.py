"""Every setting, with its default, unit and range: the only place where one is defined.

Commands, ROS parameters and the YAML files are made from these dataclasses. Each field's
metadata carries its description; ``__post_init__`` refuses a bad value by name.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_TASK_CHARACTERS = 1000
MAX_TASKS = 16  # worked on at once


def setting(default: Any, description: str, **metadata: Any) -> Any:
    """A dataclass field with a description and, where given, ``low``, ``high`` or ``choices``.

    Bounds are inclusive. ``read_only=True`` marks a setting that cannot change while the node runs.
    """
    metadata["description"] = description
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def same_as(cls: type, name: str, description: str) -> Any:
    """A dataclass field with default and range of a setting of another class."""
    other = next(spec for spec in dataclasses.fields(cls) if spec.name == name)
    return setting(other.default, **{**other.metadata, "description": description})


def documented(cls: type) -> type:
    """Class decorator: list the fields in the docstring, which ``--help`` and pydoc show."""
    lines = []
    for spec in dataclasses.fields(cls):
        bounds = [
            f"{word} {spec.metadata[key]}"
            for key, word in (("low", "at least"), ("high", "at most"))
            if key in spec.metadata
        ]
        if "choices" in spec.metadata:
            bounds.append("one of " + ", ".join(map(str, spec.metadata["choices"])))
        allowed = f" ({', '.join(bounds)})" if bounds else ""
        lines.append(f"    {spec.name}: {spec.metadata['description']}{allowed}")
    cls.__doc__ = "\n".join([inspect.cleandoc(cls.__doc__), "", "Attributes:", *lines])
    return cls


def check(config: Any) -> None:
    """Raise ValueError naming class, field, value and range of the first value out of bounds."""
    for spec in dataclasses.fields(config):
        value, where = getattr(config, spec.name), f"{type(config).__name__}.{spec.name}"
        low, high = spec.metadata.get("low"), spec.metadata.get("high")
        choices = spec.metadata.get("choices")
        for item in value if isinstance(value, tuple | list) else (value,):
            if choices is not None and item not in choices:
                raise ValueError(f"{where} is {item!r}; allowed: {', '.join(map(str, choices))}")
            if low is not None and not item >= low:
                raise ValueError(f"{where} is {item!r}; it must be at least {low}")
            if high is not None and not item <= high:
                raise ValueError(f"{where} is {item!r}; it must be at most {high}")


def from_dict(cls: type, values: Any, source: str) -> Any:
    """Build a config dataclass from a parsed YAML mapping; nested dataclasses too.

    Raises ValueError naming ``source`` and the unknown or missing keys, or the bad value.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{source}: expected a mapping for {cls.__name__}, found {values!r}")
    specs = {spec.name: spec for spec in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(specs))
    if unknown:
        raise ValueError(f"{source}: unknown keys {unknown}; allowed: {sorted(specs)}")
    missing = [
        name
        for name, spec in specs.items()
        if name not in values
        and spec.default is dataclasses.MISSING
        and spec.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{source}: missing keys {missing}")
    built = {}
    for name, value in values.items():
        nested = specs[name].metadata.get("nested")
        if nested is not None:
            value = from_dict(nested, value, f"{source}: {name}")
        built[name] = tuple(value) if isinstance(value, list) else value
    try:
        return cls(**built)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source}: {error}") from error


# --- the network -----------------------------------------------------------------------------


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


RANKINGS = ("prune_decoder", "attention")
"""What can rank a model's image tokens: VLTP's prune decoder, or LLaVA's attention to the image,
which needs no training."""


@documented
@dataclass(frozen=True)
class PruningConfig:
    """Where and how much the encoder prunes (VLTP, Section 4.2)."""

    prune_after: tuple[int, ...] = setting((), "1-based layers after which tokens are selected")
    rates: tuple[float, ...] = setting((), "share of tokens frozen after each, 0 <= rate < 1")
    selector: str = setting("prune_decoder", "what ranks the tokens", choices=RANKINGS)
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

    def __post_init__(self) -> None:
        check(self)

    @property
    def image_tokens(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.patch_size) ** 2


LLAVA_SIZES = {
    "tabletop": LlavaSizes(128, 384, 8, 4, 1024, 512, 192, 24, 128, 384, 4, 4, -1),
    "1b": LlavaSizes(2048, 5632, 22, 32),
    "7b": LlavaSizes(),
}
"""Name -> sizes: LISA-7B's, those of a language model of 1.1 billion parameters behind the same
vision tower, and the model that ships."""


CSP_SELECTORS = ("uniform", "random", "cls", "instances")


@documented
@dataclass(frozen=True)
class CspConfig:
    """Which image tokens the layers of the language model see (LVLM_CSP).

    Shares of the layers and of the image tokens, so that a setting fits every size. Representatives
    are *chosen*, not averaged; tokens that were left out come back with the embedding that the
    projector gave them, and all keep their positions.
    """

    scatter_from: float = setting(
        0.25, "share of the layers before all image tokens are seen", low=0.0, high=1.0
    )
    prune_from: float = setting(
        0.5, "share of the layers before only the most attended are seen", low=0.0, high=1.0
    )
    clustered: float = setting(0.25, "share of the tokens seen at first", low=0.0, high=1.0)
    kept: float = setting(1 / 16, "share of the tokens seen at last", low=0.0, high=1.0)
    selector: str = setting(
        "uniform",
        "representatives: evenly spaced, drawn, the most attended by the vision tower's CLS token, "
        "or spread over given instances",
        choices=CSP_SELECTORS,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.scatter_from > self.prune_from:
            raise ValueError(
                f"CspConfig.scatter_from is {self.scatter_from}; it must be at most prune_from "
                f"{self.prune_from}"
            )


CSP_PRESETS = {"65": CspConfig(), "70": CspConfig(scatter_from=10 / 32)}
"""Percent of the image tokens' MACs saved at 7B -> setting; published without an accuracy loss, and
with one of about a point."""

CSP_NAMES = ("off", *CSP_PRESETS)

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
"""What SAM computes in; auto: bfloat16 on a GPU that has it, else float32."""

QUANTIZATIONS = ("float32", "bfloat16", "int8", "nf4")
"""LLaVA's weights: 32, 16, 8 (LLM.int8) or 4 bits (NF4, double quantisation)."""

TRAINING_QUANTIZATIONS = ("float32", "bfloat16", "nf4")
"""LLaVA's weights where it is frozen, or only adapters on it learn; int8 computes in float16, whose
range is too small for training."""


def csp_config(name: str) -> CspConfig | None:
    """The setting of one of CSP_NAMES; None for "off". ValueError for another name."""
    if name not in CSP_NAMES:
        raise ValueError(f"csp is {name!r}; allowed: {', '.join(CSP_NAMES)}")
    return CSP_PRESETS.get(name)


@documented
@dataclass(frozen=True)
class ReuseConfig:
    """When a <SEG> embedding serves for a later image of the same stream and task.

    The change of an image is that of its brightness, averaged over each cell of a 16 x 16 grid: the
    largest change of a cell, as a share of the whole scale. An object that comes in changes a few
    cells by much; noise and a flicker change all of them by little.
    """

    max_age: float = setting(0.0, "seconds between the images; 0: never", low=0.0, high=3600.0)
    max_change: float = setting(0.1, "largest change of the image", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        check(self)


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
    pixel_mean: tuple[float, ...] = setting((123.675, 116.28, 103.53), "RGB mean, 0..255")
    pixel_std: tuple[float, ...] = setting((58.395, 57.12, 57.375), "RGB deviation, 0..255")
    prompt: str = setting(
        "USER: {image} {task} ASSISTANT: [SEG]",
        "one forced-answer turn: {image} and {task} are filled in, [SEG] is read out",
    )
    quantization: str = setting("float32", "LLaVA's weights in memory", choices=QUANTIZATIONS)
    framing: str = setting("pad", "how the image is made square for LLaVA", choices=("pad", "crop"))
    threshold: float = setting(0.5, "mask where the probability exceeds this", low=0.0, high=1.0)

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
    """The whole network around one of ``SAM_ENCODERS``, which freezes half at each stage."""
    stages = DEFAULT_PRUNE_AFTER[name]
    return ModelConfig(
        name=name,
        encoder=SAM_ENCODERS[name],
        mask_decoder=MASK_DECODERS[name],
        prune_decoder=PRUNE_DECODERS[name],
        pruning=PruningConfig(stages, (0.5,) * len(stages)),
    )


# --- the ROS nodes ---------------------------------------------------------------------------

MODEL_DEFAULT = "own"  # what the model directory says
NAMESPACE = re.compile(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


@documented
@dataclass(frozen=True)
class NodeConfig:
    """Parameters of the ``vltp`` node."""

    model: str = setting("", "model directory; empty: the tabletop model", read_only=True)
    device: str = setting("auto", "auto, cpu, cuda or cuda:N", read_only=True)
    threads: int = setting(
        0, "CPU threads for the model; 0: PyTorch's default", low=0, high=1024, read_only=True
    )
    quantization: str = setting(
        MODEL_DEFAULT,
        "LLaVA's weights in memory; own: as the model says",
        choices=(MODEL_DEFAULT, *QUANTIZATIONS),
        read_only=True,
    )
    precision: str = setting(
        "auto",
        "what SAM computes in; auto: bfloat16 on a GPU that has it, else float32",
        choices=PRECISIONS,
        read_only=True,
    )
    autostart: bool = setting(
        True, "configure and activate at the start; false: a manager does", read_only=True
    )
    cameras: tuple[str, ...] = setting(
        (), "namespaces of the cameras; empty: one, without a namespace", read_only=True
    )
    transport: str = setting(
        "raw",
        "raw: image (sensor_msgs/Image); compressed: image/compressed (JPEG or PNG)",
        choices=("raw", "compressed"),
        read_only=True,
    )
    image_reliability: str = setting(
        "auto",
        "quality of service of images, depth and camera_info; auto: as the publishers offer",
        choices=("auto", "best_effort", "reliable"),
        read_only=True,
    )
    image_durability: str = setting(
        "volatile",
        "quality of service of images; transient_local also takes what came before, if latched",
        choices=("volatile", "transient_local"),
        read_only=True,
    )
    image_depth: int = setting(
        5,
        "images that the middleware keeps until the node takes them; it works on the newest",
        low=1,
        high=100,
        read_only=True,
    )
    depth: bool = setting(
        False, "listen to depth and camera_info, and tell where in space things are", read_only=True
    )
    depth_tolerance: float = setting(
        0.05, "seconds that the stamps of an image and its depth may differ", low=0.0, high=10.0
    )
    rates: tuple[float, ...] = setting(
        (), "share of image tokens frozen at each stage; empty: the model's own", low=0.0, high=0.99
    )
    selector: str = setting(
        MODEL_DEFAULT,
        "what ranks image tokens; own: as the model says",
        choices=(MODEL_DEFAULT, *RANKINGS),
    )
    # A number: in YAML and on the command line of ROS 2, 65 is no text, and off is no text either.
    csp: int = setting(
        0,
        "which image tokens LLaVA's layers see (LVLM_CSP); 0: all, else the preset",
        choices=(0, *map(int, CSP_PRESETS)),
    )
    reuse_max_age: float = same_as(
        ReuseConfig, "max_age", "seconds that a <SEG> serves for later images of a camera; 0: never"
    )
    reuse_max_change: float = same_as(
        ReuseConfig, "max_change", "change of the image up to which it does, 0..1"
    )
    threshold: float = setting(
        -1.0, "mask threshold, 0..1; negative: the model's own", low=-1.0, high=1.0
    )
    task: str = setting("", "task to start with; empty: wait for one on the topic")
    overlay_alpha: float = setting(0.5, "opacity of the mask in the overlay", low=0.0, high=1.0)
    overlay_labels: bool = setting(True, "write task and score into the overlay")
    watchdog: float = setting(
        60.0,
        "seconds after which an inference counts as stuck and the model is given up; 0: never",
        low=0.0,
        high=86400.0,
    )
    max_latency_p50: float = setting(
        0.0, "warn when the median age at publication exceeds this, seconds; 0: never", low=0.0
    )
    max_latency_p99: float = setting(
        0.0, "warn when its 99th percentile exceeds this, seconds; 0: never", low=0.0
    )
    max_input_age: float = setting(
        2.0, "stale when no image came for longer than this, seconds; 0: never", low=0.0
    )
    min_input_rate: float = setting(
        0.0, "warn when images come more slowly than this, Hz; 0: never", low=0.0
    )
    max_dropped: float = setting(
        1.0, "warn when more than this share of the images is dropped", low=0.0, high=1.0
    )
    max_gpu_memory: float = setting(
        0.0, "warn when the model holds more GPU memory than this, MiB; 0: never", low=0.0
    )

    def __post_init__(self) -> None:
        check(self)
        if len(self.task) > MAX_TASK_CHARACTERS:
            raise ValueError(
                f"NodeConfig.task has {len(self.task)} characters; "
                f"at most {MAX_TASK_CHARACTERS} are allowed"
            )
        for name in self.cameras:
            if not NAMESPACE.fullmatch(name):
                raise ValueError(
                    f"NodeConfig.cameras has {name!r}; a namespace is words of letters, digits and "
                    "underscores, joined by slashes, none beginning with a digit"
                )
        if len({name.strip("/") for name in self.cameras}) < len(self.cameras):
            raise ValueError(f"NodeConfig.cameras is {self.cameras}; each may be there once")


@documented
@dataclass(frozen=True)
class CameraConfig:
    """Parameters of the simulated camera."""

    rate: float = setting(8.0, "frames per second", low=0.1, high=120.0, read_only=True)
    width: int = setting(640, "pixels", low=16, high=640, read_only=True)
    height: int = setting(480, "pixels, three quarters of the width", low=12, high=480,
                          read_only=True)  # fmt: skip
    seed: int = setting(0, "seed of the first scene", low=0, high=2**62, read_only=True)
    split: str = setting(
        "test",
        "which split the scenes come from",
        choices=("train", "val", "test", "uncommon"),
        read_only=True,
    )
    scene_seconds: float = setting(6.0, "seconds before the next scene", low=0.1, high=86400.0)
    frame_id: str = setting("camera_optical_frame", "frame of the images", read_only=True)

    def __post_init__(self) -> None:
        check(self)


@documented
@dataclass(frozen=True)
class StillCameraConfig:
    """Parameters of the camera that sees one picture, for measuring."""

    rate: float = setting(10.0, "frames per second", low=0.1, high=240.0, read_only=True)
    width: int = setting(1280, "pixels", low=16, high=8192, read_only=True)
    height: int = setting(720, "pixels", low=16, high=8192, read_only=True)

    def __post_init__(self) -> None:
        check(self)


@documented
@dataclass(frozen=True)
class LiveViewConfig:
    """Parameters of the server for the Foxglove app."""

    address: str = setting(
        "127.0.0.1:8765",
        "host:port to serve at; 0.0.0.0 is every address of this machine, port 0 any free one",
        read_only=True,
    )

    def __post_init__(self) -> None:
        check(self)
        host, _, port = self.address.rpartition(":")
        if not (host and port.isdecimal() and int(port) < 2**16):
            raise ValueError(
                f"LiveViewConfig.address is {self.address!r}; it must be host:port, such as "
                "127.0.0.1:8765"
            )


@documented
@dataclass(frozen=True)
class PlannerConfig:
    """Parameters of the planner that publishes task sentences from a list."""

    tasks: tuple[str, ...] = setting(
        ("something to drive a nail", "what could I drink from?", "a thing that cuts"),
        "the sentences, published in turn until a list comes on the topic",
    )
    period: float = setting(2.0, "seconds between tasks", low=0.05, high=86400.0)

    def __post_init__(self) -> None:
        check(self)
        if not self.tasks:
            raise ValueError("PlannerConfig.tasks is empty; it must have at least one sentence")


DEFAULT_MODEL = Path("models") / "tabletop"


# --- training --------------------------------------------------------------------------------


@documented
@dataclass(frozen=True)
class LoraConfig:
    """LoRA adapters on LLaVA's language model; the defaults are the paper's."""

    rank: int = setting(8, "of what they add to a weight matrix", low=1)
    alpha: float = setting(16.0, "what they add is scaled by alpha / rank", low=0.0)
    dropout: float = setting(0.05, "share of their input dropped in training", low=0.0, high=0.99)
    targets: tuple[str, ...] = setting(
        ("q_proj", "v_proj"),
        "the linear layers that get one",
        choices=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.targets:
            raise ValueError("LoraConfig.targets is empty; it must name at least one linear layer")


@documented
@dataclass(frozen=True)
class TrainConfig:
    """One training run on tabletop scenes."""

    steps: int = setting(4000, "optimiser steps", low=1)
    batch: int = setting(8, "images per step", low=1)
    tasks_per_image: int = setting(3, "tasks drawn for each image", low=1)
    mosaic: bool = setting(False, "pictures of four cuts each, crowded with objects")
    empty_share: float = setting(0.15, "share of tasks that nothing serves", low=0.0, high=1.0)
    optimiser: str = setting(
        "muon",
        "muon: Muon for weight matrices, AdamW for the rest; adamw: AdamW for all",
        choices=("muon", "adamw"),
    )
    learning_rate: float = setting(1e-3, "peak of the cosine schedule, AdamW's", low=0.0)
    betas: tuple[float, float] = setting((0.9, 0.98), "AdamW's", low=0.0, high=0.9999)
    muon_learning_rate: float = setting(0.02, "peak of the cosine schedule, Muon's", low=0.0)
    finetune_share: float = setting(
        0.05, "share of the rates for a mask decoder that is trained already", low=0.0, high=1.0
    )
    warmup: int = setting(200, "steps of linear warm-up", low=0)
    final_share: float = setting(0.0, "share of the peak rate left at the end", low=0.0, high=1.0)
    weight_decay: float = setting(0.05, "AdamW's", low=0.0)
    clip: float = setting(1.0, "largest gradient norm", low=0.0)
    kind_weight: float = setting(
        1.0, "weight of the auxiliary losses on kinds of objects (dense stage only)", low=0.0
    )
    seg_weight: float = setting(
        10.0, "weight of what <SEG> changes by, relative (attention stage only)", low=0.0
    )
    rates: tuple[float, ...] = setting(
        (0.5,), "pruning rates, one drawn for each step (pruned stage only)", low=0.0, high=0.99
    )
    bfloat16: bool = setting(True, "train under bfloat16 autocast")
    gradient_checkpointing: bool = setting(
        False, "run LLaVA's layers twice instead of storing what they compute (finetune only)"
    )
    save_every: int = setting(200, "steps between checkpoints", low=1)
    seed: int = setting(0, "of weights, data order and augmentation", low=0)

    def __post_init__(self) -> None:
        check(self)


FINETUNING = TrainConfig(
    batch=20,
    tasks_per_image=1,
    optimiser="adamw",
    learning_rate=3e-4,
    betas=(0.9, 0.95),
    weight_decay=0.0,
    warmup=100,
    gradient_checkpointing=True,
)
"""The paper's schedule for LLaVA with adapters; it does not give the number of steps."""

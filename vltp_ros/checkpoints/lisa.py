"""Conversion of the public LISA checkpoints (LLaVA, [SEG] and SAM in one) to model directories.

LISA-7B-v1 holds LLaMA, one linear projector, the <SEG> projection and SAM, its mask decoder
fine-tuned; CLIP, which it left as it was, comes from a directory of its own. Nobody has trained a
prune decoder for it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, PreTrainedTokenizerFast

from vltp_ros.checkpoints.conversion import (
    LLAVA,
    TensorRecipe,
    copied,
    empty_model,
    whole_config,
    write_model,
)
from vltp_ros.checkpoints.llava_files import by_plain_name, empty_llava, plain
from vltp_ros.checkpoints.model_directory import ModelError
from vltp_ros.checkpoints.output import check_output
from vltp_ros.checkpoints.source_files import (
    TensorLocation,
    check_tensors,
    locate,
    make_config,
    read_json,
    read_tokenizer,
)
from vltp_ros.network.config import ModelConfig, model_config
from vltp_ros.network.llava import token_id, vision_config
from vltp_ros.network.prompts import SEG_TOKEN
from vltp_ros.network.reasoner import Reasoner
from vltp_ros.network.vltp import Vltp

SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the human's questions."
)
"""How LLaVA's first versions open a conversation."""

REQUEST = "Please output segmentation mask."

# LISA's tokenizer swallowed the space on both sides of an added token; today's keep it. The one
# after <im_end> is the start of a word, which the old one put there by itself.
PROMPT = f"{SYSTEM} USER:<im_start>{{image}}<im_end> {{task}} {REQUEST} ASSISTANT:{SEG_TOKEN}."

IMAGE_TOKEN = "<im_patch>"
TOKENS = (IMAGE_TOKEN, "<im_start>", "<im_end>", SEG_TOKEN)
"""What LISA added to LLaMA's vocabulary."""

LICENCE = (
    "LLaMA's and Vicuna's terms, from which LISA's weights derive: non-commercial research; "
    "SAM Apache-2.0, CLIP MIT"
)

SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "vocab_size",
)
"""What LISA's config.json must say of the language model."""

OPTIONS = (
    "num_key_value_heads",
    "max_position_embeddings",
    "rms_norm_eps",
    "hidden_act",
    "rope_theta",
    "rope_scaling",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)
"""What it may say."""

RENAMED = {"multi_modal_projector.linear_1.": "mm_projector.", "projection.": "text_hidden_fcs.0."}
"""Start of a name in our reasoner -> in LISA's checkpoint."""

TOWER = "vision_tower."
"""Start of the names of what CLIP has."""

IDENTITY = "multi_modal_projector.linear_2."
"""The second layer of transformers' projector, which LISA does not have."""


def convert_lisa(
    directory: Path,
    clip: Path,
    out: Path,
    sam: ModelConfig | None = None,
    overwrite: bool = False,
) -> ModelConfig:
    """Write the model directory of a LISA checkpoint, all of it or nothing.

    It has no pruned half: LLaVA's attention ranks the image tokens.

    Args:
        directory: the checkpoint: config.json, tokenizer, PyTorch shards with their index.
        clip: a transformers directory with the vision tower that LISA was trained with,
            ``openai/clip-vit-large-patch14``.
        out: missing, or with a card alone.
        sam: SAM's sizes and stages; default: ViT-H's, as in all that was published.
        overwrite: whether ``out`` may hold a model.

    Raises:
        ModelError: for a file that is missing, truncated or does not fit the others, an ``out``
            that may not be written to, or a disk that is too small.
    """
    directory, clip, out = (Path(path).absolute() for path in (directory, clip, out))
    check_output(out, overwrite)
    config = whole_config(sam or model_config("vit_h"), directory.name, PROMPT, "crop")
    model = _empty_lisa(directory, clip, config)
    tensors = _locate_tensors(model, directory, clip)
    parts = {name: _part(name, value, tensors) for name, value in model.state_dict().items()}
    files = sorted({location.path for location in tensors.values()})
    write_model(out, model, parts, files, LICENCE, overwrite)
    return config


def _empty_lisa(directory: Path, clip: Path, config: ModelConfig) -> Vltp:
    """Build the network without memory, in LISA's and CLIP's sizes, with LISA's tokenizer."""
    path = directory / "config.json"
    values = read_json(path)
    vision = _read_vision(clip)
    tokenizer = _read_tokenizer(directory)
    llava = empty_llava(_llava_config(values, vision, tokenizer, path))
    with torch.device("meta"):
        reasoner = Reasoner(llava, tokenizer, config.prompt, config.framing)
    return empty_model(config, reasoner)


def _locate_tensors(model: Vltp, directory: Path, clip: Path) -> dict[str, TensorLocation]:
    """Locate LISA's and CLIP's tensors by plain name; ModelError unless they fit the model."""
    lisa, tower = by_plain_name(locate(directory), directory), _clip_tensors(clip)
    expected = {_origin(name): p for name, p in model.state_dict().items() if IDENTITY not in name}
    of_clip = {name: expected.pop(name) for name in list(expected) if name.startswith(TOWER)}
    _check_width(lisa, vision_config(model.reasoner.llava.config).hidden_size, directory, clip)
    check_tensors(tower, of_clip, f"{clip} does not hold the vision tower in its config.json")
    check_tensors(lisa, expected, f"{directory} is not a LISA of its config.json's sizes")
    return lisa | tower


def _read_tokenizer(directory: Path) -> PreTrainedTokenizerFast:
    """Read LISA's tokenizer; ModelError unless it has all of :data:`TOKENS`."""
    tokenizer = read_tokenizer(directory)
    for token in TOKENS:
        try:
            token_id(tokenizer, token)
        except ValueError as error:
            raise ModelError(
                f"{directory}'s tokenizer has no token {token}; LISA's has one"
            ) from error
    return tokenizer


def _read_vision(clip: Path) -> CLIPVisionConfig:
    """Read the vision tower's configuration from that of CLIP, or of the tower alone."""
    path = clip / "config.json"
    values = read_json(path)
    return make_config(CLIPVisionConfig, values.get("vision_config", values), path)


def _llava_config(
    values: dict, vision: CLIPVisionConfig, tokenizer: PreTrainedTokenizerFast, path: Path
) -> LlavaConfig:
    """Translate LISA's config.json at ``path`` to transformers' configuration."""
    missing = [name for name in SIZES if name not in values]
    if missing:
        raise ModelError(f"{path} does not say {', '.join(missing)}; LISA's does")
    if values["vocab_size"] != len(tokenizer):
        raise ModelError(
            f"{path} has vocab_size {values['vocab_size']}, but the tokenizer beside it has "
            f"{len(tokenizer)} tokens; they must be equal"
        )
    known = {name: values[name] for name in (*SIZES, *OPTIONS) if name in values}
    return LlavaConfig(
        vision_config=vision,
        text_config=make_config(LlamaConfig, known, path),
        image_token_index=token_id(tokenizer, IMAGE_TOKEN),
        image_seq_length=_image_tokens(vision),
        projector_hidden_act="linear",
        vision_feature_layer=values.get("mm_vision_select_layer", -2),
        vision_feature_select_strategy="default",
    )


def _image_tokens(vision: CLIPVisionConfig) -> int:
    """Return the number of patches of an image; ModelError unless both are square."""
    side, patch = vision.image_size, vision.patch_size
    if not isinstance(side, int) or not isinstance(patch, int):
        raise ModelError(
            f"CLIP's config.json has image_size {side} and patch_size {patch}; each must be one "
            "number"
        )
    return (side // patch) ** 2


def _clip_tensors(clip: Path) -> dict[str, TensorLocation]:
    """Locate the vision tower's tensors in CLIP, by :data:`TOWER` and plain name."""
    located = locate(clip)
    vision = {k: v for k, v in located.items() if k.startswith("vision_model.")} or located
    return {f"{TOWER}{name}": v for name, v in by_plain_name(vision, clip).items()}


def _check_width(lisa: dict[str, TensorLocation], width: int, directory: Path, clip: Path) -> None:
    """Raise ModelError if LISA's projector takes tokens of another width than CLIP gives."""
    projector = lisa.get("mm_projector.weight")
    if projector is not None and projector.shape[1:] != (width,):
        raise ModelError(
            f"{clip} gives tokens of width {width}, the mm_projector in {directory} takes "
            f"{list(projector.shape[1:])}: it was trained with another vision tower"
        )


def _part(name: str, parameter: Tensor, tensors: dict[str, TensorLocation]) -> TensorRecipe:
    """Return what to write for a parameter: LLaVA in bfloat16, the rest as it is."""
    if IDENTITY in name:
        make = torch.eye if name.endswith("weight") else torch.zeros
        return TensorRecipe(parameter.shape, torch.bfloat16, lambda read: make(*parameter.shape))
    return copied(tensors[_origin(name)], torch.bfloat16 if name.startswith(LLAVA) else None)


def _origin(name: str) -> str:
    """Return the plain name of the tensor, LISA's or CLIP's, that a parameter comes from."""
    if not name.startswith("reasoner."):
        return f"visual_model.{name}"
    name = plain(name.removeprefix(LLAVA).removeprefix("reasoner."))
    for ours, theirs in RENAMED.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name

"""Conversion of the public LISA checkpoints (LLaVA, [SEG] and SAM in one) to model directories.

They hold LLaMA, one linear projector, the <SEG> projection and SAM, its mask decoder fine-tuned, in
7B and 13B and in the forms of :mod:`vltp_ros.checkpoints.lisa_forms`; CLIP, which they left as it
was, comes from a directory of its own. Nobody has trained a prune decoder for them.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, PreTrainedTokenizerFast

from vltp_ros.checkpoints.conversion import (
    LLAVA,
    TABLES,
    TensorRecipe,
    copied,
    empty_model,
    grown,
    whole_config,
    write_model,
)
from vltp_ros.checkpoints.lisa_forms import (
    IMAGE_TOKEN,
    LisaForm,
    locate_lisa,
    read_lisa_tokenizer,
    recognise,
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
)
from vltp_ros.network.config import ModelConfig, model_config
from vltp_ros.network.llava import token_id, vision_config
from vltp_ros.network.reasoner import Reasoner
from vltp_ros.network.vltp import Vltp

LICENCE = (
    "LLaMA's and Vicuna's terms, from which LISA's weights derive: non-commercial research; where "
    "that is LLaMA 2, its community license; SAM Apache-2.0, CLIP MIT"
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
    path = directory / "config.json"
    values = _read_config(path)
    form = recognise(directory, values)
    rows = values["vocab_size"]
    tokenizer = read_lisa_tokenizer(directory, form, rows)
    config = whole_config(sam or model_config("vit_h"), directory.name, form.prompt, "crop")
    llava = empty_llava(_llava_config(values, _read_vision(clip), tokenizer, path))
    with torch.device("meta"):
        reasoner = Reasoner(llava, tokenizer, config.prompt, config.framing)
    model = empty_model(config, reasoner)
    tensors = _locate_tensors(model, directory, clip, form, rows)
    new = range(rows, len(tokenizer))
    parts = {name: _part(name, value, tensors, new) for name, value in model.state_dict().items()}
    files = sorted({location.path for location in tensors.values()})
    write_model(out, model, parts, files, LICENCE, overwrite)
    return config


def _read_config(path: Path) -> dict:
    """Read LISA's config.json; ModelError unless it has all of :data:`SIZES`."""
    values = read_json(path)
    missing = [name for name in SIZES if name not in values]
    if missing:
        raise ModelError(f"{path} does not say {', '.join(missing)}; LISA's does")
    return values


def _locate_tensors(
    model: Vltp, directory: Path, clip: Path, form: LisaForm, rows: int
) -> dict[str, TensorLocation]:
    """Locate LISA's and CLIP's tensors by plain name; ModelError unless they fit the model.

    Args:
        model: may have more tokens than the checkpoint.
        directory: of the checkpoint.
        clip: directory of the vision tower.
        form: of the checkpoint.
        rows: how many tokens it has.
    """
    lisa, tower = by_plain_name(locate_lisa(directory, form), directory), _clip_tensors(clip)
    expected = {_origin(name): p for name, p in model.state_dict().items() if IDENTITY not in name}
    expected |= {name: expected[name][:rows] for name in TABLES}
    of_clip = {name: expected.pop(name) for name in list(expected) if name.startswith(TOWER)}
    _check_width(lisa, vision_config(model.reasoner.llava.config).hidden_size, directory, clip)
    check_tensors(tower, of_clip, f"{clip} does not hold the vision tower in its config.json")
    check_tensors(lisa, expected, f"{directory} is not a LISA of its config.json's sizes")
    return lisa | tower


def _read_vision(clip: Path) -> CLIPVisionConfig:
    """Read the vision tower's configuration from that of CLIP, or of the tower alone."""
    path = clip / "config.json"
    values = read_json(path)
    return make_config(CLIPVisionConfig, values.get("vision_config", values), path)


def _llava_config(
    values: dict, vision: CLIPVisionConfig, tokenizer: PreTrainedTokenizerFast, path: Path
) -> LlavaConfig:
    """Translate LISA's config.json at ``path`` to transformers' configuration."""
    known = {name: values[name] for name in (*SIZES, *OPTIONS) if name in values}
    known["vocab_size"] = len(tokenizer)
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


def _part(
    name: str, parameter: Tensor, tensors: dict[str, TensorLocation], new: range
) -> TensorRecipe:
    """Return what to write for a parameter: LLaVA in bfloat16, the rest as it is."""
    if IDENTITY in name:
        make = torch.eye if name.endswith("weight") else torch.zeros
        return TensorRecipe(parameter.shape, torch.bfloat16, lambda read: make(*parameter.shape))
    origin = _origin(name)
    if origin in TABLES:
        return grown(tensors[origin], new, torch.bfloat16)
    return copied(tensors[origin], torch.bfloat16 if name.startswith(LLAVA) else None)


def _origin(name: str) -> str:
    """Return the plain name of the tensor, LISA's or CLIP's, that a parameter comes from."""
    if not name.startswith("reasoner."):
        return f"visual_model.{name}"
    name = plain(name.removeprefix(LLAVA).removeprefix("reasoner."))
    for ours, theirs in RENAMED.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name

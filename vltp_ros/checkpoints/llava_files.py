"""LLaVA and its tokenizer as transformers stores them: written, checked and loaded.

Nothing of such a directory is run, and nothing is asked of a network: its classes are those that
this package knows.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import LlavaConfig, LlavaForConditionalGeneration

from vltp_ros.checkpoints.errors import ModelError
from vltp_ros.checkpoints.quantization import check_memory, quantized
from vltp_ros.checkpoints.source_files import (
    TensorLocation,
    check_tensors,
    locate,
    make_config,
    read_json,
    read_tokenizer,
)
from vltp_ros.checkpoints.text_files import check_size
from vltp_ros.network.config import ModelConfig
from vltp_ros.network.reasoner import Reasoner

COMPUTED = ("rotary_emb.inv_freq", "embeddings.position_ids")
"""Ends of the names of buffers that older checkpoints hold and transformers makes by itself."""

ADAPTER_CONFIG = "adapter_config.json"
"""What makes transformers load other weights than those of the directory."""

TEXT_SUFFIXES = (".json", ".txt", ".model", ".jinja")
"""Of configurations and tokenizers."""

HEAD = "lm_head.weight"
"""Plain name of what a file lacks where the head shares the weights of the words."""


def empty_llava(config: LlavaConfig) -> LlavaForConditionalGeneration:
    """Build LLaVA on the meta device, without memory for its parameters."""
    with torch.device("meta"):
        return LlavaForConditionalGeneration(config)


def plain(name: str) -> str:
    """Return a parameter's name without the modules that transformers wraps around it.

    Its releases wrap differently: ``language_model.model.layers.0.…``,
    ``model.language_model.layers.0.…`` and LLaMA's own ``model.layers.0.…`` all become
    ``layers.0.…``.
    """
    wraps = ("model", "language_model", "vision_model")
    return ".".join(part for part in name.split(".") if part not in wraps)


def by_plain_name(located: dict[str, TensorLocation], directory: Path) -> dict[str, TensorLocation]:
    """Return the tensors of a directory by :func:`plain` name, without computed buffers.

    Raises:
        ModelError: if two have the same.
    """
    by_name: dict[str, TensorLocation] = {}
    for name, location in located.items():
        if name.endswith(COMPUTED):
            continue
        if plain(name) in by_name:
            raise ModelError(f"{directory} has {name} twice, also as {by_name[plain(name)].name}")
        by_name[plain(name)] = location
    return by_name


def write_llava(reasoner: Reasoner, directory: Path, dtype: torch.dtype) -> None:
    """Write LLaVA, its weights in the given type, and its tokenizer as transformers does."""
    weights = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in reasoner.llava.state_dict().items()
    }
    reasoner.llava.save_pretrained(directory, state_dict=weights)
    reasoner.tokenizer.save_pretrained(directory)


def load_reasoner(
    directory: Path, config: ModelConfig, device: torch.device, rest_bytes: float = 0.0
) -> Reasoner:
    """Load LLaVA and its tokenizer from a transformers directory; the projection is random.

    Args:
        directory: as transformers saves it.
        config: says how it lies in memory, and how it is asked.
        device: where to.
        rest_bytes: bytes that the rest of the model will take.

    Raises:
        ModelError: for a directory that cannot be read, too little memory, or no bitsandbytes.
    """
    if not directory.is_dir():
        raise ModelError(f"{directory} does not exist; it must hold LLaVA and its tokenizer")
    check_stored(directory)
    try:
        check_memory(directory, config.quantization, device, rest_bytes)
        llava = LlavaForConditionalGeneration.from_pretrained(
            directory,
            local_files_only=True,
            trust_remote_code=False,
            device_map={"": device},
            **quantized(config.quantization),
        )
        return Reasoner(llava, read_tokenizer(directory), config.prompt, config.framing)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if isinstance(error, ModelError):
            raise
        reason = str(error).splitlines()[0]
        raise ModelError(f"{directory} cannot be loaded: {reason}") from error


def check_stored(directory: Path) -> None:
    """Compare the weights of a transformers directory, as its files' headers list them, with it.

    transformers itself makes up weights that are missing, and warns.

    Raises:
        ModelError: for a configuration of no LLaVA or with code of its own, or a tensor that is
            missing, unknown or of another shape.
    """
    for path in directory.glob("*"):
        if path.suffix in TEXT_SUFFIXES:
            check_size(path)
    path = directory / "config.json"
    values = read_json(path)
    if values.get("model_type") != "llava":
        raise ModelError(f"{path}: model_type is {values.get('model_type')!r}; it must be 'llava'")
    has_adapter_config = (directory / ADAPTER_CONFIG).is_file()
    if has_adapter_config or "auto_map" in json.dumps(values):
        what = ADAPTER_CONFIG if has_adapter_config else "auto_map"
        raise ModelError(f"{directory} has {what}; nothing from elsewhere is ever loaded")
    config = make_config(LlavaConfig, values, path)
    tensors = by_plain_name(locate(directory), directory)
    expected = {plain(name): p for name, p in empty_llava(config).state_dict().items()}
    if config.tie_word_embeddings and HEAD not in tensors:
        del expected[HEAD]
    check_tensors(tensors, expected, f"{directory} is not a LLaVA of its config.json's sizes")

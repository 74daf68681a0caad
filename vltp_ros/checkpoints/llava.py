"""Conversion of LLaVA-1.5 and SAM to a model directory to train from.

LLaVA has no [SEG] yet: its vocabulary gets one more row, and the <SEG> projection is random.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers import LlavaConfig, PreTrainedTokenizerFast

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
from vltp_ros.checkpoints.lisa_forms import REQUEST, SYSTEM
from vltp_ros.checkpoints.llava_files import by_plain_name, empty_llava, plain
from vltp_ros.checkpoints.model_directory import SAM_FILE, ModelError
from vltp_ros.checkpoints.output import check_output
from vltp_ros.checkpoints.sam import read_sam_description
from vltp_ros.checkpoints.source_files import (
    TensorLocation,
    check_tensors,
    locate,
    make_config,
    read_json,
    read_tokenizer,
    stored_tensors,
)
from vltp_ros.network.config import ModelConfig
from vltp_ros.network.llava import text_config
from vltp_ros.network.prompts import SEG_TOKEN
from vltp_ros.network.reasoner import Reasoner
from vltp_ros.network.vltp import Vltp

PROMPT = f"{SYSTEM} USER: {{image}}\n{{task}} {REQUEST} ASSISTANT:{SEG_TOKEN}."

LICENCE = (
    "LLaMA 2 Community License, from whose model LLaVA-1.5's weights derive; CLIP MIT; SAM as its "
    "source"
)

SEED = 0
"""Of the <SEG> projection."""


def convert_llava(directory: Path, sam: Path, out: Path, overwrite: bool = False) -> ModelConfig:
    """Write a model directory of LLaVA and SAM, all of it or nothing; as precise as its sources.

    Args:
        directory: config.json, tokenizer and weights of LLaVA as transformers has it.
        sam: what ``vltp convert sam`` wrote.
        out: missing, or with a card alone.
        overwrite: whether ``out`` may hold a model.

    Raises:
        ModelError: for a file that is missing, truncated or does not fit the others, an ``out``
            that may not be written to, or a disk that is too small.
    """
    directory, sam, out = (Path(path).absolute() for path in (directory, sam, out))
    check_output(out, overwrite)
    sizes = read_sam_description(sam)
    config = whole_config(sizes, f"{directory.name} with {sizes.name}", PROMPT, "pad")
    llava = make_config(LlavaConfig, read_json(directory / "config.json"), directory)
    tokenizer = read_tokenizer(directory)
    _check_tokens(tokenizer, llava, directory)
    tensors = _llava_tensors(llava, directory)
    new = _add_seg(tokenizer, llava)
    model = empty_model(config, _new_reasoner(llava, tokenizer, config))
    tensors |= _sam_tensors(model, sam / SAM_FILE)
    parts = {name: _part(name, value, tensors, new) for name, value in model.state_dict().items()}
    files = sorted({location.path for location in tensors.values()})
    write_model(out, model, parts, files, LICENCE, overwrite)
    return config


def _check_tokens(tokenizer: PreTrainedTokenizerFast, llava: LlavaConfig, directory: Path) -> None:
    """Raise ModelError unless the vocabulary holds the tokenizer's and the image token."""
    vocabulary = text_config(llava).vocab_size
    if len(tokenizer) > vocabulary:
        raise ModelError(
            f"{directory}'s tokenizer has {len(tokenizer)} tokens, more than the vocab_size "
            f"{vocabulary} of its config.json"
        )
    if llava.image_token_id >= len(tokenizer):
        raise ModelError(
            f"{directory}'s config.json has image token {llava.image_token_id}; its tokenizer has "
            f"{len(tokenizer)} tokens"
        )


def _llava_tensors(llava: LlavaConfig, directory: Path) -> dict[str, TensorLocation]:
    """Locate LLaVA's tensors by plain name; ModelError unless they fit its configuration."""
    tensors = by_plain_name(locate(directory), directory)
    expected = {plain(name): p for name, p in empty_llava(llava).state_dict().items()}
    check_tensors(tensors, expected, f"{directory} is not a LLaVA of its config.json's sizes")
    return tensors


def _sam_tensors(model: Vltp, path: Path) -> dict[str, TensorLocation]:
    """Locate SAM's tensors by name; ModelError unless they fit the model."""
    tensors = stored_tensors(path)
    parameters = model.state_dict().items()
    expected = {name: p for name, p in parameters if not name.startswith("reasoner.")}
    check_tensors(tensors, expected, f"{path} does not fit the model.yaml beside it")
    return tensors


def _add_seg(tokenizer: PreTrainedTokenizerFast, llava: LlavaConfig) -> range:
    """Add ``[SEG]`` to the vocabulary; return the new ids, none if the tokenizer has it."""
    known = len(tokenizer)
    tokenizer.add_tokens([SEG_TOKEN], special_tokens=True)
    text = text_config(llava)
    text.vocab_size = max(text.vocab_size, len(tokenizer))  # llava-1.5's has rows to spare
    return range(known, len(tokenizer))


def _new_reasoner(
    llava: LlavaConfig, tokenizer: PreTrainedTokenizerFast, config: ModelConfig
) -> Reasoner:
    """Build LLaVA without memory, and a random <SEG> projection, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return Reasoner(empty_llava(llava), tokenizer, config.prompt, config.framing)


def _part(
    name: str, parameter: Tensor, tensors: dict[str, TensorLocation], new: range
) -> TensorRecipe:
    """Return what to write for a parameter."""
    if name.startswith("reasoner.projection."):
        return TensorRecipe(parameter.shape, parameter.dtype, lambda read: parameter)
    origin = plain(name.removeprefix(LLAVA))
    return grown(tensors[origin], new) if origin in TABLES else copied(tensors[origin])

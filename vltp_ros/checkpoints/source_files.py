"""Files that other tools wrote: tensors, configuration, tokenizer; errors name the file."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaTokenizer, PreTrainedConfig, PreTrainedTokenizerFast
from transformers.utils import is_protobuf_available, is_sentencepiece_available

from vltp_ros.checkpoints.errors import ModelError
from vltp_ros.checkpoints.text_files import check_size
from vltp_ros.paths import pip_command

Config = TypeVar("Config", bound=PreTrainedConfig)

SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of the weight file in a transformers directory; with ``.index.json`` that of its shards."""


@dataclass(frozen=True)
class TensorLocation:
    """The file and name of a tensor, and its form."""

    path: Path
    name: str
    shape: torch.Size
    dtype: torch.dtype


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a ``.safetensors`` or PyTorch file by name.

    They are mapped: only those that are used are read, and stay in memory until the last of the
    file's tensors is freed.

    Raises:
        ModelError: for a file that is truncated, is none, or holds anything else.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except SafetensorError as error:
        raise ModelError(f"{path} is truncated or not a safetensors file: {error}") from error
    except (pickle.UnpicklingError, RuntimeError, ValueError, LookupError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"{path} is not a checkpoint that torch.load reads: {reason}") from error
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise ModelError(f"{path} is not a checkpoint of named tensors: it holds more or else")
    return tensors


def stored_tensors(path: Path) -> dict[str, TensorLocation]:
    """Locate a file's tensors by name; errors are those of :func:`read_tensors`."""
    return {
        key: TensorLocation(path, key, t.shape, t.dtype) for key, t in read_tensors(path).items()
    }


def locate(directory: Path) -> dict[str, TensorLocation]:
    """Locate every tensor of a transformers directory by name, in one weight file or in shards.

    Raises:
        ModelError: for a file or index that is missing, truncated, is none, or an index that does
            not fit its files.
    """
    for name in SINGLE_FILES:
        if (directory / f"{name}.index.json").is_file():
            return _locate_shards(directory / f"{name}.index.json")
        if (directory / name).is_file():
            return stored_tensors(directory / name)
    allowed = ", ".join(f"{name}, {name}.index.json" for name in SINGLE_FILES)
    raise ModelError(f"{directory} has no weight file and no index of shards; allowed: {allowed}")


def check_tensors(
    tensors: Mapping[str, Tensor | TensorLocation], expected: Mapping[str, Tensor], what: str
) -> None:
    """Raise ModelError, its message starting with ``what``, unless all fit and are floats."""
    wrong = {
        "missing": [key for key in expected if key not in tensors],
        "unknown": [key for key in tensors if key not in expected],
        "of another shape or type": [
            f"{key} {list(tensors[key].shape)} instead of {list(value.shape)}"
            for key, value in expected.items()
            if key in tensors
            and not (tensors[key].shape == value.shape and tensors[key].dtype.is_floating_point)
        ],
    }
    if any(wrong.values()):
        listed = "; ".join(f"{len(w)} {why}: {', '.join(w[:3])}" for why, w in wrong.items() if w)
        raise ModelError(f"{what}; tensors {listed}")


def read_json(path: Path) -> dict:
    """Read a JSON object; ModelError for a file that is missing or holds none."""
    if not path.is_file():
        raise ModelError(f"{path} does not exist; a directory of transformers has one")
    check_size(path)
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no JSON object")
    return content


def make_config(kind: type[Config], values: dict, source: Path) -> Config:
    """Build a configuration of transformers; ModelError naming ``source`` for bad values."""
    try:
        return kind.from_dict(values)
    except (ValueError, TypeError, AttributeError, StrictDataclassError) as error:
        raise ModelError(f"{source}: the configuration is not valid: {_line(error)}") from error


def read_tokenizer(directory: Path) -> PreTrainedTokenizerFast:
    """Read the tokenizer of a directory with tokenizer.json or LLaMA's own tokenizer.model.

    Raises:
        ModelError: for a file that is missing or invalid, or if a package is missing that is
            needed for tokenizer.model.
    """
    try:
        if (directory / "tokenizer.json").is_file():
            return PreTrainedTokenizerFast.from_pretrained(directory, local_files_only=True)
        if (directory / "tokenizer.model").is_file():
            return _read_sentencepiece(directory)
    except ModelError:
        raise
    except Exception as error:  # the tokenizers library raises nothing more specific
        raise ModelError(f"{directory}'s tokenizer cannot be read: {_line(error)}") from error
    raise ModelError(f"{directory} has no tokenizer; it needs tokenizer.json or tokenizer.model")


def _read_sentencepiece(directory: Path) -> PreTrainedTokenizerFast:
    """Read LLaMA's tokenizer in its first form: each text begins with the start of a word."""
    if not (is_sentencepiece_available() and is_protobuf_available()):
        raise ModelError(
            f"{directory / 'tokenizer.model'} needs two packages that are missing: "
            + pip_command("lisa")
        )
    from sentencepiece import SentencePieceProcessor

    SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))  # RuntimeError if invalid
    llama = LlamaTokenizer.from_pretrained(directory, local_files_only=True, legacy=True)
    # Saved under its own class, transformers would build it anew from its vocabulary, without the
    # start of the first word.
    return PreTrainedTokenizerFast(
        tokenizer_object=llama.backend_tokenizer,
        bos_token=llama.bos_token,
        eos_token=llama.eos_token,
        unk_token=llama.unk_token,
        pad_token=llama.pad_token,
    )


def _line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return str(error).strip().partition("\n")[0]


def _locate_shards(index: Path) -> dict[str, TensorLocation]:
    """Locate the tensors that an index of shards lists; ModelError unless it fits them."""
    try:
        listed = set(read_json(index)["weight_map"].items())
        paths = [index.parent / name for name in sorted({name for _, name in listed})]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is not a valid index of shards: {error!r}") from error
    for path in paths:
        if not path.is_file():
            raise ModelError(f"{path} is missing; {index.name} beside it lists it")
    locations = [location for path in paths for location in stored_tensors(path).values()]
    differing = sorted(listed ^ {(location.name, location.path.name) for location in locations})
    if differing:
        examples = ", ".join(f"{key} in {name}" for key, name in differing[:3])
        raise ModelError(f"{index} does not fit its shards in {len(differing)} tensors: {examples}")
    return {location.name: location for location in locations}

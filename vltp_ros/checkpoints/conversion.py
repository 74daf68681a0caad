"""Model directories out of other tools' tensors: file by file, with little memory, resumable.

DIR.partial is written first, and becomes DIR when it is complete. A file in it that has its
final name is finished: another run of the same conversion goes on after it.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from vltp_ros.checkpoints.errors import ModelError
from vltp_ros.checkpoints.model_directory import (
    PARTS,
    sha256,
    write_description,
    write_tensors,
)
from vltp_ros.checkpoints.output import check_output, replacing
from vltp_ros.checkpoints.source_files import TensorLocation, read_tensors
from vltp_ros.network.config import ModelConfig
from vltp_ros.network.reasoner import Reasoner
from vltp_ros.network.vltp import Vltp
from vltp_ros.progress import progress_bar

log = logging.getLogger(__name__)

SHARD_BYTES = 10**9
"""A file of LLaVA's is closed before it exceeds this: so much is in memory at once."""

SPARE_BYTES = 10**8
"""Room for tokenizer, indexes and the like."""

RECORD = "conversion.json"
"""In DIR.partial: its sources and files, which another run must match to go on."""

LLAVA = "reasoner.llava."
"""Start of the names of LLaVA's parameters in the whole network."""

TABLES = ("embed_tokens.weight", "lm_head.weight")
"""Plain names of what has a row for each token."""

Read = Callable[[Path], dict[str, Tensor]]
"""Path -> the file's tensors, mapped."""


@dataclass(frozen=True)
class TensorRecipe:
    """A tensor to be written: its form, and what computes it when it is written."""

    shape: torch.Size
    dtype: torch.dtype
    make: Callable[[Read], Tensor]

    @property
    def bytes(self) -> int:
        """Size in the file."""
        return self.shape.numel() * self.dtype.itemsize


def copied(location: TensorLocation, dtype: torch.dtype | None = None) -> TensorRecipe:
    """Return the recipe of a stored tensor, in another type if one is given."""
    return TensorRecipe(
        location.shape, dtype or location.dtype, lambda read: read(location.path)[location.name]
    )


def grown(location: TensorLocation, new: range, dtype: torch.dtype | None = None) -> TensorRecipe:
    """Return the recipe of a table whose new tokens start as the mean of the known ones.

    Args:
        location: of the table, one of :data:`TABLES`.
        new: rows of the new tokens, if any; beyond the stored rows or among those to spare.
        dtype: to write; None: the stored one.
    """
    shape = torch.Size((max(location.shape[0], new.stop), location.shape[1]))

    def make(read: Read) -> Tensor:
        old = read(location.path)[location.name]
        table = old.new_zeros(shape)
        table[: len(old)] = old
        table[new.start : new.stop] = old[: new.start].float().mean(0)
        return table

    return TensorRecipe(shape, dtype or location.dtype, make)


def empty_model(config: ModelConfig, reasoner: Reasoner) -> Vltp:
    """Build the network around a reasoner, without a pruned half or memory for SAM."""
    with torch.device("meta"):
        return Vltp(config, reasoner, pruned_half=False)


def whole_config(sam: ModelConfig, name: str, prompt: str, framing: str) -> ModelConfig:
    """Return a configuration with SAM's sizes, LLaVA in 4 bits, and its attention as selector."""
    pruning = dataclasses.replace(sam.pruning, selector="attention")
    return dataclasses.replace(
        sam, name=name, prompt=prompt, framing=framing, pruning=pruning, quantization="nf4"
    )


def write_model(
    directory: Path,
    model: Vltp,
    parts: dict[str, TensorRecipe],
    sources: list[Path],
    licence: str,
    overwrite: bool = False,
) -> None:
    """Write a model directory without a pruned half, all of it or nothing.

    A run that was stopped goes on where it was when the same is asked for again.

    Args:
        directory: missing, or with a card alone.
        model: gives configuration and tokenizer; its parameters may be on the meta device.
        parts: for each of the names in ``model.state_dict()``, what to write.
        sources: the files that the parts come from; ``model.yaml`` lists them with their SHA-256.
        licence: for ``model.yaml``.
        overwrite: whether the directory may hold a model.

    Raises:
        ModelError: if the directory may not be written to, the disk has too little room, or a file
            cannot be read or written.
    """
    directory = directory.absolute()
    check_output(directory, overwrite)
    files = _files(parts)
    partial = directory.with_name(f"{directory.name}.partial")
    record = _resume(partial, _record(files, sources))
    missing = {name: group for name, group in files.items() if not (partial / name).exists()}
    _check_room(directory, sum(part.bytes for group in missing.values() for part in group.values()))
    (partial / "llava").mkdir(parents=True, exist_ok=True)
    _write_json(record, partial / RECORD)
    size = sum(part.bytes for part in parts.values()) + sum(p.stat().st_size for p in sources)
    with progress_bar(total=size, unit="B", unit_scale=True, mininterval=2) as bar:
        for name, group in files.items():
            if name in missing:
                _write_parts(group, partial / name)
            bar.update(sum(part.bytes for part in group.values()))
        for path in sources:
            _hash_source(path, record, partial / RECORD)
            bar.update(path.stat().st_size)
    _write_llava(partial / "llava", model, files, parts[f"{LLAVA}lm_head.weight"].dtype)
    log.info("checksums of %s", partial)
    origins = [{"file": _short(path), "sha256": record["sha256"][str(path)]} for path in sources]
    write_description(partial, model.config, {"licence": licence, "sources": origins})
    _put_in_place(partial, directory)


def _files(parts: dict[str, TensorRecipe]) -> dict[str, dict[str, TensorRecipe]]:
    """Return each file of the model directory with its tensors by their names there."""
    shards: list[dict[str, TensorRecipe]] = [{}]
    for name, part in parts.items():
        if not name.startswith(LLAVA):
            continue
        if sum(p.bytes for p in shards[-1].values()) + part.bytes > SHARD_BYTES and shards[-1]:
            shards.append({})
        shards[-1][name.removeprefix(LLAVA)] = part
    files = {
        f"llava/model-{number:05}-of-{len(shards):05}.safetensors": shard
        for number, shard in enumerate(shards, 1)
    }
    dense = {name: part for name, part in parts.items() if not name.startswith(LLAVA)}
    return {**files, "dense.safetensors": dense}


def _record(files: dict[str, dict[str, TensorRecipe]], sources: list[Path]) -> dict:
    """Return what must be equal for an interrupted conversion to go on."""
    stats = {str(path): path.stat() for path in sources}
    return {
        "sources": {path: [stat.st_size, stat.st_mtime_ns] for path, stat in stats.items()},
        "files": {
            file: {name: f"{part.dtype} {list(part.shape)}" for name, part in parts.items()}
            for file, parts in files.items()
        },
    }


def _resume(partial: Path, record: dict) -> dict:
    """Return the record with known checksums; remove a ``partial`` of another conversion."""
    path = partial / RECORD
    if partial.exists() and not path.is_file():
        raise ModelError(f"{partial} is in the way: it is no interrupted conversion; remove it")
    if partial.exists():
        previous = _read_record(path)
        if {key: previous.get(key) for key in record} == record:
            log.info("going on with %s", partial)
            _remove_all_but(partial, {path, *(partial / name for name in record["files"])})
            return previous
        log.warning("%s was made of something else; starting afresh", partial)
        shutil.rmtree(partial)
    return {**record, "sha256": {}}


def _remove_all_but(directory: Path, whole: set[Path]) -> None:
    """Remove the incomplete files of a killed run: its own, and the safetensors library's."""
    for path in directory.rglob("*"):
        if path.is_file() and path not in whole:
            path.unlink()


def _read_record(path: Path) -> dict:
    """Return the JSON object in a file, or {} if the file holds none."""
    try:
        record = json.loads(path.read_text())
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _check_room(directory: Path, needed: int) -> None:
    """Raise ModelError unless the disk of ``directory`` has room for so many bytes."""
    free = shutil.disk_usage(next(path for path in directory.parents if path.exists())).free
    if free < needed + SPARE_BYTES:
        raise ModelError(
            f"{directory} needs {(needed + SPARE_BYTES) / 1e9:.1f} GB more and its disk has "
            f"{free / 1e9:.1f} GB left; make room or give another --out, then run this again"
        )


def _write_parts(parts: dict[str, TensorRecipe], path: Path) -> None:
    """Write a file under another name, then rename it; meanwhile its sources are mapped."""
    read = cache(read_tensors)
    tensors = {name: part.make(read).to(part.dtype).contiguous() for name, part in parts.items()}
    temporary = path.with_name(f"{path.name}.part")
    write_tensors(tensors, temporary)
    os.replace(temporary, path)


def _hash_source(path: Path, record: dict, file: Path) -> None:
    """Add a source's checksum to the record, and write the record, unless it is there."""
    if str(path) not in record["sha256"]:
        record["sha256"][str(path)] = sha256(path)
        _write_json(record, file)


def _write_llava(
    directory: Path, model: Vltp, files: dict[str, dict[str, TensorRecipe]], dtype: torch.dtype
) -> None:
    """Write what transformers needs with the shards: index, configuration and tokenizer."""
    shards = {Path(file).name: parts for file, parts in files.items() if file not in PARTS}
    index = {
        "metadata": {"total_size": sum(p.bytes for s in shards.values() for p in s.values())},
        "weight_map": {name: file for file, parts in shards.items() for name in parts},
    }
    _write_json(index, directory / "model.safetensors.index.json")
    config = model.reasoner.llava.config
    config.architectures = [LlavaForConditionalGeneration.__name__]
    config.dtype = dtype
    config.save_pretrained(directory)
    model.reasoner.tokenizer.save_pretrained(directory)


def _put_in_place(partial: Path, directory: Path) -> None:
    """Move the files of ``partial`` to the model directory, and remove the rest."""
    with replacing(directory) as fresh:
        for path in partial.iterdir():
            if path.name != RECORD:
                os.replace(path, fresh / path.name)
    shutil.rmtree(partial)


def _short(path: Path) -> str:
    """Return the last folder and the name of a file."""
    return f"{path.parent.name}/{path.name}"


def _write_json(content: dict, path: Path) -> None:
    """Write a JSON file under another name, then rename it."""
    temporary = path.with_name(f"{path.name}.part")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(temporary, path)

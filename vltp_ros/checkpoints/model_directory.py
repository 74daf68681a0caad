"""Model directories, which hold a network's modules: written and loaded.

model.yaml           sizes, stages, rates, preprocessing; licence; files with SHA-256
dense.safetensors    image encoder, prompt encoder, mask decoder, <SEG> projection
pruned.safetensors   prune decoder and the mask decoder that was fine-tuned with it; a model
                     without a trained one, which model.yaml does not list it for, has none
llava/               transformers directory with its tokenizer
adapter/             a model that was fine-tuned with one: LoRA on LLaVA, see
                     :mod:`vltp_ros.checkpoints.adapters`

A directory that :mod:`vltp_ros.checkpoints.sam` made has model.yaml and sam.safetensors: SAM
alone, which is no whole model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.utils.logging import set_tqdm_hook

from vltp_ros.checkpoints.adapters import (
    ADAPTER,
    ADAPTER_FILE,
    has_adapter,
    load_adapter,
    write_adapter,
)
from vltp_ros.checkpoints.errors import ModelError
from vltp_ros.checkpoints.llava_files import load_reasoner, write_llava
from vltp_ros.checkpoints.output import replacing
from vltp_ros.checkpoints.quantization import choose_quantization, sam_bytes
from vltp_ros.checkpoints.source_files import check_tensors, stored_tensors
from vltp_ros.checkpoints.text_files import read_yaml
from vltp_ros.network.config import AutoQuantization, ModelConfig
from vltp_ros.network.sam import PrunedSam
from vltp_ros.network.vltp import Vltp
from vltp_ros.progress import progress_bar
from vltp_ros.settings import as_plain, from_dict


def _as_ours(_: Any, arguments: tuple, options: dict[str, Any]) -> Any:
    """Return our bar in place of one of transformers', to be gone when the weights are loaded."""
    return progress_bar(*arguments, **options, leave=False)


set_tqdm_hook(_as_ours)

PARTS = {
    "dense.safetensors": ("image_encoder", "prompt_encoder", "mask_decoder", "reasoner.projection"),
    "pruned.safetensors": ("prune_decoder", "pruned_mask_decoder"),
}
"""File -> the modules whose parameters it holds."""

PRUNED_FILE = "pruned.safetensors"
"""The one of :data:`PARTS` that a model directory may lack."""

SAM_FILE = "sam.safetensors"
"""What a directory has instead that holds SAM alone."""


def save_model(
    model: Vltp,
    directory: Path,
    provenance: dict[str, Any],
    *,
    base: Path | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a model directory, all of it or nothing; SAM in half precision.

    Args:
        model: on any device.
        directory: a model in it is replaced, see :func:`replacing`.
        provenance: what ``model.yaml`` says beside the sizes, e.g. ``licence`` and ``sources``.
        base: model directory whose LLaVA this one still is, adapters aside: its files are taken as
            they are. Needed where LLaVA is quantised or has an adapter.
        dtype: of LLaVA's weights where there is no ``base``.

    Raises:
        ModelError: for a model that needs ``base`` and has none, or a file that cannot be written.
    """
    if base is None:
        _check_whole(model)
    with replacing(directory) as fresh:
        for name, modules in parts_of(pruned_half=model.prune_decoder is not None).items():
            write_tensors(_gather(model, modules), fresh / name)
        if base is None:
            write_llava(model.reasoner, fresh / "llava", dtype)
        else:
            shutil.copytree(Path(base) / "llava", fresh / "llava", copy_function=_link_or_copy)
        if has_adapter(model.reasoner.llava):
            write_adapter(model.reasoner.llava, fresh / ADAPTER)
        write_description(fresh, model.config, provenance)


def _check_whole(model: Vltp) -> None:
    """Raise ModelError unless LLaVA can be written as it is."""
    if getattr(model.reasoner.llava, "is_quantized", False):
        raise ModelError(
            f"{model.config.name} was loaded with quantization {model.config.quantization}; only "
            "whole weights can be saved (float32 or bfloat16)"
        )
    if has_adapter(model.reasoner.llava):
        raise ModelError(f"{model.config.name} has an adapter; vltp merge makes whole weights")


def _link_or_copy(source: str, target: str) -> None:
    """Link a weight file, which is large and never written in place; copy any other."""
    if source.endswith(".safetensors"):
        with suppress(OSError):  # another file system, or one without links
            os.link(source, target)
            return
    shutil.copy2(source, target)


def write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file; ModelError where that fails, e.g. for want of space."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise ModelError(f"{path.name} cannot be written: {error}") from error


def write_description(directory: Path, config: ModelConfig, provenance: dict[str, Any]) -> None:
    """Write ``model.yaml``, with the checksums of the weight files beside it."""
    description = {
        "config": as_plain(config),
        **provenance,
        "sha256": {str(p.relative_to(directory)): sha256(p) for p in weight_files(directory)},
    }
    (directory / "model.yaml").write_text(yaml.safe_dump(description, sort_keys=False))


def load_model(
    directory: Path | str,
    device: str | torch.device = "cpu",
    quantization: AutoQuantization | None = None,
    dtype: torch.dtype = torch.float32,
) -> Vltp:
    """Load a model directory, ready for inference.

    Args:
        directory: see above.
        device: where to.
        quantization: of LLaVA, one of AUTO_QUANTIZATIONS; None: as ``model.yaml`` says.
        dtype: of SAM's weights.

    Raises:
        ModelError: for a missing, truncated, altered or mismatching file, or too little memory.
        ValueError: for an unknown quantization.
    """
    directory, device = Path(directory), torch.device(device)
    config, checksums = read_description(directory)
    if SAM_FILE in checksums and not PARTS.keys() & checksums.keys():
        raise ModelError(
            f"{directory} holds SAM only ({SAM_FILE}) and has no LLaVA; vltp segment and the node "
            "need a whole model (models/README.md says how to make one)"
        )
    verify(directory, checksums)
    pruned_half = PRUNED_FILE in checksums
    _check_sam(directory, config, pruned_half)
    files = [directory / name for name in parts_of(pruned_half)]
    others = sam_bytes(filter(Path.is_file, files), config.encoder, dtype, device)
    if quantization == "auto":
        quantization = choose_quantization(directory / "llava", config.quantization, device, others)
    if quantization is not None:
        config = dataclasses.replace(config, quantization=quantization)
    reasoner = load_reasoner(directory / "llava", config, device, others)
    if ADAPTER_FILE in checksums:
        load_adapter(reasoner.llava, directory / ADAPTER)
    model = Vltp(config, reasoner, pruned_half)
    for name, modules in parts_of(pruned_half).items():
        fill(model, modules, directory / name)
    model.cast(dtype)
    del model.reasoner  # quantised weights lie on the device and cannot be moved
    reasoner.projection.to(device)
    model.to(device).reasoner = reasoner
    _check_weights(model, directory)
    return model.eval().requires_grad_(False)


def parts_of(pruned_half: bool) -> dict[str, tuple[str, ...]]:
    """Return the files of :data:`PARTS` that a model with or without the pruned half has."""
    return {name: modules for name, modules in PARTS.items() if pruned_half or name != PRUNED_FILE}


def read_description(directory: Path) -> tuple[ModelConfig, dict[str, str]]:
    """Return ``model.yaml``'s sizes and checksums; ModelError if it is missing or not valid."""
    path = directory / "model.yaml"
    if not path.is_file():
        raise ModelError(
            f"{path} does not exist; a model directory needs one (models/README.md says how to "
            "train or convert a model)"
        )
    try:
        description = read_yaml(path)
        config = from_dict(ModelConfig, description["config"], str(path))
        if not isinstance(trained_on := description.get("trained_on", ""), str):
            raise ValueError(f"trained_on is {trained_on!r}; it must be text")
        return config, dict(description["sha256"])
    except ModelError:
        raise
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not a valid model description: {error}") from error


def read_provenance(directory: Path) -> dict[str, Any]:
    """Return licence and sources from ``model.yaml``, None and [] where it names none.

    And ``trained_on``, what the model has learnt from in words, where that is known.

    Errors are those of :func:`read_description`.
    """
    read_description(directory)
    description = read_yaml(directory / "model.yaml")
    known = {name: description[name] for name in ("trained_on",) if name in description}
    return {
        "licence": description.get("licence"),
        "sources": description.get("sources", []),
        **known,
    }


def weight_files(directory: Path) -> list[Path]:
    """Return the files of a model directory that ``model.yaml`` lists with checksums."""
    return sorted(directory.glob("*.safetensors")) + [
        path
        for folder in ("llava", ADAPTER)
        for path in sorted((directory / folder).glob("*"))
        if path.is_file()
    ]


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(directory: Path, checksums: dict[str, str]) -> None:
    """Raise ModelError unless what ``model.yaml`` lists is there, unaltered, and nothing else."""
    for path in weight_files(directory):
        if str(path.relative_to(directory)) not in checksums:
            raise ModelError(f"{path} is not in model.yaml's list of files; remove it")
    for name, expected in progress_bar(checksums.items(), desc="Checksums", leave=False):
        path = directory / name
        if not path.is_file():
            raise ModelError(f"{path} is missing; model.yaml beside it lists it")
        checksum = sha256(path)
        if checksum != expected:
            raise ModelError(
                f"{path} is truncated or altered: its SHA-256 is {checksum[:12]}…, "
                f"model.yaml says {expected[:12]}…"
            )


def _check_sam(directory: Path, config: ModelConfig, pruned_half: bool) -> None:
    """Compare SAM's files with ``model.yaml``, by their headers and before memory is taken.

    Raises:
        ModelError: for a file that is missing, is none, or does not fit.
    """
    with torch.device("meta"):
        state = PrunedSam(config, pruned_half).state_dict()
    for name, modules in parts_of(pruned_half).items():
        path = directory / name
        if not path.is_file():
            raise ModelError(f"{path} does not exist; a model directory needs it")
        prefixes = tuple(f"{module}." for module in modules)
        expected = {key: value for key, value in state.items() if key.startswith(prefixes)}
        stored = {
            key: tensor
            for key, tensor in stored_tensors(path).items()
            if not key.startswith("reasoner.")  # whose size LLaVA's configuration says
        }
        check_tensors(stored, expected, f"{path} does not fit model.yaml")


def _check_weights(model: nn.Module, directory: Path) -> None:
    """Raise ModelError naming the first weight that holds NaN or infinity.

    Of quantised weights the scales are looked at.
    """
    for name, parameter in model.named_parameters():
        state = getattr(parameter, "quant_state", None)
        scales = [parameter] if state is None else [state.absmax, getattr(state, "offset", None)]
        for scale in scales:
            if scale is None or not scale.is_floating_point() or not scale.numel():
                continue
            if not all(bound.isfinite() for bound in scale.aminmax()):
                raise ModelError(f"{directory}: {name} holds values that are not finite")


def fill(model: nn.Module, modules: tuple[str, ...], path: Path, assign: bool = False) -> None:
    """Load a file of :data:`PARTS`' kind into modules of these names.

    Args:
        model: what the names are relative to.
        modules: the file must hold all of their parameters, and nothing else.
        path: the safetensors file.
        assign: replace the parameters, e.g. of a model on the meta device; default: copy into them.

    Raises:
        ModelError: for a file that is missing, is none, or does not fit.
    """
    if not path.is_file():
        raise ModelError(f"{path} does not exist; a model directory needs it")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is truncated or not a safetensors file: {error}") from error
    for name in modules:
        prefix = f"{name}."
        own = {
            k.removeprefix(prefix): tensors.pop(k) for k in list(tensors) if k.startswith(prefix)
        }
        try:
            model.get_submodule(name).load_state_dict(own, assign=assign)
        except RuntimeError as error:
            raise ModelError(f"{path} does not fit model.yaml: {error}") from error
    if tensors:
        raise ModelError(f"{path} has {len(tensors)} unknown tensors: {sorted(tensors)[:3]}")


def _gather(model: Vltp, modules: tuple[str, ...]) -> dict[str, Tensor]:
    """Return the parameters of some modules in half precision, by their names in the model."""
    return {
        f"{name}.{key}": value.half().contiguous().cpu()
        for name in modules
        for key, value in model.get_submodule(name).state_dict().items()
    }

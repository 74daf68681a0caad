"""Conversion of Meta's SAM checkpoints to model directories that hold SAM alone.

model.yaml         sizes, default stages and rates; licence, source, SHA-256
sam.safetensors    image encoder, prompt encoder, mask decoder, as precise as their source
"""

from __future__ import annotations

import dataclasses
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder
from torch import nn

from vltp_ros.checkpoints.model_directory import (
    SAM_FILE,
    ModelError,
    fill,
    read_description,
    sha256,
    verify,
    write_description,
    write_tensors,
)
from vltp_ros.checkpoints.output import check_output, replacing
from vltp_ros.checkpoints.source_files import check_tensors, read_tensors
from vltp_ros.network.config import ModelConfig, model_config
from vltp_ros.network.sam import build_image_encoder, build_mask_decoder, build_prompt_encoder

log = logging.getLogger(__name__)

MODULES = ("image_encoder", "prompt_encoder", "mask_decoder")
"""What a checkpoint holds; its tensors' names start with these."""

OWN_CHECKPOINT = "a checkpoint of your own needs --sam and --sha256"


@dataclass(frozen=True)
class Release:
    """A checkpoint as Meta published it."""

    file: str
    bytes: int
    sha256: str

    @property
    def url(self) -> str:
        """Address to download it from."""
        return f"https://dl.fbaipublicfiles.com/segment_anything/{self.file}"


RELEASES = {
    "vit_b": Release(
        "sam_vit_b_01ec64.pth",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    "vit_l": Release(
        "sam_vit_l_0b3195.pth",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    "vit_h": Release(
        "sam_vit_h_4b8939.pth",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
}
"""Name in :data:`~vltp_ros.network.config.SAM_ENCODERS` -> checkpoint; Meta's, under Apache-2.0."""


def convert_sam(
    file: Path,
    directory: Path,
    sam: str | None = None,
    checksum: str | None = None,
    overwrite: bool = False,
) -> ModelConfig:
    """Write the model directory of a checkpoint, all of it or nothing.

    Args:
        file: one of :data:`RELEASES`, or a checkpoint of one's own in the same format.
        directory: missing, or with a card alone.
        sam: size of a checkpoint of one's own, a key of :data:`RELEASES`.
        checksum: its SHA-256; given with ``sam`` or not at all.
        overwrite: whether the directory may hold a model.

    Raises:
        ValueError: for a ``sam`` or ``checksum`` that is not allowed.
        ModelError: for a file that is missing, truncated, altered, unknown or no such checkpoint,
            or a directory that may not be written to.
    """
    file, directory = Path(file), Path(directory)
    check_output(directory, overwrite)
    log.info("checking %s", file)
    name, provenance = identify(file, sam, checksum)
    config = dataclasses.replace(model_config(name), name=f"sam_{name}")
    tensors = read_tensors(file)
    what = f"{file} is not a checkpoint of {config.name}"
    check_tensors(tensors, _empty(config).state_dict(), what)
    log.info("writing %s", directory)
    with replacing(directory) as fresh:
        write_tensors({key: value.contiguous() for key, value in tensors.items()}, fresh / SAM_FILE)
        write_description(fresh, config, provenance)
    return config


def load_sam(
    directory: Path | str, device: str | torch.device = "cpu"
) -> tuple[ModelConfig, ImageEncoderViT, PromptEncoder, MaskDecoder]:
    """Load what :func:`convert_sam` wrote, in full precision and ready for inference.

    Raises:
        ModelError: for a missing, truncated, altered or mismatching file.
    """
    directory = Path(directory)
    config = read_sam_description(directory)
    model = _empty(config)
    fill(model, MODULES, directory / SAM_FILE, assign=True)
    model = model.float().eval().requires_grad_(False).to(device)
    image_encoder, prompt_encoder, mask_decoder = map(model.get_submodule, MODULES)
    return config, image_encoder, prompt_encoder, mask_decoder


def read_sam_description(directory: Path) -> ModelConfig:
    """Return ``model.yaml``'s sizes of SAM; ModelError unless its files are there, unaltered."""
    config, checksums = read_description(directory)
    if SAM_FILE not in checksums:
        raise ModelError(
            f"{directory / 'model.yaml'} lists no {SAM_FILE}; vltp convert sam makes a directory "
            "that has it"
        )
    verify(directory, checksums)
    return config


def identify(file: Path, sam: str | None, checksum: str | None) -> tuple[str, dict[str, Any]]:
    """Identify a checkpoint by its SHA-256: the name of its size, and its provenance.

    Arguments and errors are :func:`convert_sam`'s.
    """
    _check_arguments(sam, checksum)
    if not file.is_file():
        urls = ", ".join(release.url for release in RELEASES.values())
        raise ModelError(f"{file} does not exist or is no file; Meta's checkpoints are {urls}")
    name = sam or _release_of_size(file)
    release, digest = RELEASES[name], sha256(file)
    if digest != (checksum or release.sha256).lower():
        wanted = f"--sha256 is {checksum}" if checksum else f"{release.file}'s is {release.sha256}"
        hint = "" if checksum else f"; {OWN_CHECKPOINT}"
        raise ModelError(
            f"{file} is altered or another file: its SHA-256 is {digest}, {wanted}{hint}"
        )
    if digest != release.sha256:
        return name, {"licence": "unknown", "sources": [{"file": file.name, "sha256": digest}]}
    source = {"file": release.file, "url": release.url, "sha256": digest}
    return name, {"licence": "Apache-2.0", "sources": [source]}


def _check_arguments(sam: str | None, checksum: str | None) -> None:
    """Raise ValueError for a size or checksum that is not allowed."""
    if (sam is None) != (checksum is None):
        raise ValueError("--sam and --sha256 go together; give both, or neither for Meta's files")
    if sam is not None and sam not in RELEASES:
        raise ValueError(f"--sam is {sam!r}; allowed: {', '.join(RELEASES)}")
    if checksum is not None and not re.fullmatch("[0-9a-fA-F]{64}", checksum):
        raise ValueError(f"--sha256 is {checksum!r}; it must be 64 hexadecimal digits")


def _release_of_size(file: Path) -> str:
    """Return the name of Meta's checkpoint of a file's size; ModelError if there is none."""
    size = file.stat().st_size
    for name, release in RELEASES.items():
        if release.bytes == size:
            return name
    allowed = ", ".join(f"{r.file} {r.bytes}" for r in RELEASES.values())
    raise ModelError(
        f"{file} has {size} bytes: truncated, or not one of Meta's checkpoints ({allowed}); "
        f"{OWN_CHECKPOINT}"
    )


def _empty(config: ModelConfig) -> nn.ModuleDict:
    """Build the modules without memory for their parameters."""
    with torch.device("meta"):
        modules = (
            build_image_encoder(config.encoder),
            build_prompt_encoder(config.encoder),
            build_mask_decoder(config.mask_decoder),
        )
    return nn.ModuleDict(dict(zip(MODULES, modules, strict=True)))

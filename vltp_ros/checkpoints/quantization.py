"""LLaVA in 32, 16, 8 or 4 bits, and the memory that it takes."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import BitsAndBytesConfig

from vltp_ros.checkpoints.errors import ModelError
from vltp_ros.network.attention import BIAS_ELEMENTS
from vltp_ros.network.config import QUANTIZATIONS, EncoderConfig, Quantization
from vltp_ros.paths import pip_command

log = logging.getLogger(__name__)

# On its import it warns that it could load a faster kernel from the internet.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

FULL = ("vision_tower", "multi_modal_projector", "lm_head")
"""Modules that stay in 16 bits: small, or hurt by less."""

SKIPPED = [f".*{part}" for part in FULL]  # patterns of whole names, whose start varies

HEADROOM = 1.1
"""Memory that loading takes for each byte that stays: buffers, the largest tensor on its way."""

BYTES = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "nf4": 0.516}
"""Of one weight of the language model's layers. NF4: 4 bits, and 8 for the scale of each 64."""

UNCAPTURABLE = ("int8",)
"""Quantizations whose layers wait for the host, to look for outliers: no CUDA graph holds them."""


def quantized(name: str) -> dict[str, Any]:
    """Return the arguments of ``from_pretrained`` for one of QUANTIZATIONS.

    Raises:
        ModelError: if it needs bitsandbytes, which is not installed.
    """
    if name in ("float32", "bfloat16"):
        return {"dtype": getattr(torch, name)}
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            f"quantization is {name!r}, which needs bitsandbytes: {pip_command('quantization')}"
        )
    if name == "int8":
        settings = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=SKIPPED)
        # Its kernels take float16 and would convert at every layer.
        return {"dtype": torch.float16, "quantization_config": settings}
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,  # the default is float32, without a word
        llm_int8_skip_modules=SKIPPED,
    )
    return {"dtype": torch.bfloat16, "quantization_config": settings}


def choose_quantization(
    directory: Path, own: Quantization, device: torch.device, rest_bytes: float
) -> Quantization:
    """Return what ``auto`` stands for, and log why.

    On a GPU that is bfloat16 where it fits into the free memory, which is the fastest, else nf4; on
    a CPU it is the model's own.

    Args:
        directory: LLaVA as transformers saves it.
        own: what ``model.yaml`` says.
        device: where it will lie.
        rest_bytes: bytes that the rest of the model takes.
    """
    if device.type != "cuda":
        return own
    needed = needed_bytes(list(stored_shapes(directory)), "bfloat16") + rest_bytes
    free = free_bytes(device)
    chosen: Quantization = "bfloat16" if needed <= free else "nf4"
    log.info(
        "LLaVA is loaded as %s: the model takes %.1f GiB in bfloat16, %.1f GiB of %s are free",
        *(chosen, needed / 2**30, free / 2**30, device),
    )
    return chosen


def check_memory(directory: Path, name: str, device: torch.device, rest_bytes: float = 0.0) -> None:
    """Refuse to load a model that does not fit into memory.

    Args:
        directory: LLaVA as transformers saves it.
        name: one of QUANTIZATIONS.
        device: where it will lie.
        rest_bytes: bytes that the rest of the model takes.

    Raises:
        ModelError: saying how much each quantization needs, and how much is free.
    """
    shapes = list(stored_shapes(directory))
    needed, free = needed_bytes(shapes, name) + rest_bytes, free_bytes(device)
    if needed > free:
        others = ", ".join(
            f"{n} {(needed_bytes(shapes, n) + rest_bytes) / 2**30:.1f}" for n in QUANTIZATIONS
        )
        raise ModelError(
            f"{directory} needs {needed / 2**30:.1f} GiB on {device} with quantization {name}, "
            f"{rest_bytes / 2**30:.1f} GiB of it for SAM and what is computed, and "
            f"{free / 2**30:.1f} GiB are free (needed: {others} GiB)"
        )


def sam_bytes(
    files: Iterable[Path], encoder: EncoderConfig, dtype: torch.dtype, device: torch.device
) -> float:
    """Return the bytes that SAM takes: its weights, and what is computed for an image.

    Args:
        files: that hold its weights.
        encoder: its sizes.
        dtype: of its weights.
        device: where it will lie.
    """
    weights = sum(math.prod(shape) for file in files for _, shape in _file_shapes(file))
    # The bias of some queries, and of a block: queries, keys, values, the MLP's hidden layer.
    bias = BIAS_ELEMENTS["cuda" if device.type == "cuda" else "cpu"]
    computed = bias + 12 * encoder.grid**2 * encoder.embed_dim
    return HEADROOM * dtype.itemsize * (weights + computed)


def needed_bytes(shapes: list[tuple[str, tuple[int, ...]]], name: str) -> float:
    """Return the bytes that loading tensors of these names and shapes takes."""
    full = BYTES["float32" if name == "float32" else "bfloat16"]
    total = 0.0
    for key, shape in shapes:
        layer = len(shape) == 2 and ".layers." in key and not any(part in key for part in FULL)
        total += math.prod(shape) * (BYTES[name] if layer else full)
    return HEADROOM * total


def free_bytes(device: torch.device) -> int:
    """Return the bytes that are free for this process."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def stored_shapes(directory: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Read names and shapes from the headers of a directory's safetensors files."""
    for path in sorted(directory.glob("*.safetensors")):
        yield from _file_shapes(path)


def _file_shapes(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Read names and shapes from the header of a safetensors file."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    for key, entry in header.items():
        yield key, tuple(entry["shape"])

"""The device that a model runs on, its precision, and how it is run there."""

from __future__ import annotations

from typing import Literal, get_args

import torch

Precision = Literal["auto", "float32", "bfloat16", "float16"]
PRECISIONS = get_args(Precision)
"""What SAM computes in; auto: bfloat16 on a GPU that has it, else float32."""

Runner = Literal["auto", "eager", "compiled"]
RUNNERS = get_args(Runner)
"""How a network's parts are run; compiled: as CUDA graphs on a GPU, by OpenVINO on a CPU; auto:
compiled where that is possible."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Names, as configuration and commands give them, of what a model computes in."""


def resolve_device(name: str) -> torch.device:
    """Return the device of a name, a GPU with its number; ``auto`` is the GPU where there is one.

    Raises:
        ValueError: for another name, or a device that this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"device is {name!r}; allowed: auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device is {name!r}; this machine has {torch.cuda.device_count()} CUDA devices"
        )
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def dtype_name(dtype: torch.dtype) -> str:
    """Return a type's name, a key of DTYPES."""
    return str(dtype).removeprefix("torch.")


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the type that a model computes in on a device.

    ``auto`` is bfloat16 on a GPU that has it, else float32: float16's range ends at 65504, which
    activations exceed.

    Raises:
        ValueError: for any name that is not one of PRECISIONS.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision is {name!r}; allowed: {', '.join(PRECISIONS)}")
    if name != "auto":
        return DTYPES[name]
    fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if fast else torch.float32

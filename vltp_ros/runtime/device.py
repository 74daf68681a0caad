"""The device that a model runs on, and what it computes in there."""

from __future__ import annotations

import torch

from vltp_ros.network.hardware import has_bfloat16
from vltp_ros.runtime.settings import PRECISIONS

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
    fast = device.type == "cuda" and has_bfloat16(device)
    return torch.bfloat16 if fast else torch.float32

"""What a result was measured on; every result file says it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("transformers", "bitsandbytes", "triton", "openvino", "onnxruntime")
"""What results depend on, beside PyTorch."""


def measured_on(device: torch.device) -> dict:
    """Return ``hardware``, the device in words, and the ``versions`` of what ran."""
    return {
        "hardware": _name(device),
        "versions": {
            "torch": torch.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES if _is_installed(name)},
            **({"cudnn": str(torch.backends.cudnn.version())} if device.type == "cuda" else {}),
        },
    }


def code_commit() -> str | None:
    """Return the commit of the checkout that runs, with "-dirty" after it where files differ.

    None where there is no git, or this module lies in no checkout of its own.
    """
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        described = subprocess.run(
            [*command, "--exclude=*"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()


def _is_installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def _name(device: torch.device) -> str:
    """Return a GPU's name, or the CPU's with its cores and threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpus = Path("/proc/cpuinfo")
    described = cpus.read_text() if cpus.is_file() else ""
    match = re.search(r"^model name\s*: (.*)", described, re.MULTILINE)
    name = match[1] if match else platform.processor() or platform.machine()
    # Matrix units make bfloat16 several times as fast, and two processors may share a name.
    units = " with AMX" if re.search(r"\bamx_bf16\b", described) else ""
    return f"{name}{units}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"

"""What a result was measured on; every result file says it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch


def measured_on(device: torch.device) -> dict:
    """``hardware``: the device in words, and ``versions`` of what ran."""
    return {
        "hardware": _name(device),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpus = Path("/proc/cpuinfo")
    names = [
        line.split(":", 1)[1].strip()
        for line in (cpus.read_text().splitlines() if cpus.is_file() else ())
        if line.startswith("model name")
    ]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"

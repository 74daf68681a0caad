"""How much of a GPU's memory this process holds."""

from __future__ import annotations

import torch


def gpu_memory_mib(device: torch.device) -> float | None:
    """MiB that PyTorch holds on the device, tensors and what it keeps for them; None on a CPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.memory_reserved(device) / 2**20

"""How much of a GPU's memory this process holds, and how it lets go of it."""

from __future__ import annotations

import gc

import torch


def gpu_memory_mib(device: torch.device) -> float | None:
    """MiB that PyTorch holds on the device, tensors and what it keeps for them; None on a CPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.memory_reserved(device) / 2**20


def release_memory(device: torch.device) -> None:
    """Give memory that nobody uses back to a GPU; nothing to do on a CPU."""
    if device.type != "cuda":
        return
    gc.collect()  # bitsandbytes' layers and their weights refer to each other
    clear_workspaces()
    with torch.cuda.device(device):
        torch.cuda.empty_cache()


def clear_workspaces() -> None:
    """Free cuBLAS's workspaces, of which each stream has kept one (32 MiB on Hopper)."""
    torch._C._cuda_clearCublasWorkspaces()

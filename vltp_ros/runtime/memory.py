"""GPU memory of this process: how much it has reserved, and how to free it."""

from __future__ import annotations

import gc

import torch


def gpu_memory_mib(device: torch.device) -> float | None:
    """Return the MiB that PyTorch has reserved on a GPU, its cache included; None on a CPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.memory_reserved(device) / 2**20


def release_memory(device: torch.device) -> None:
    """Give unused memory back to a GPU; do nothing on a CPU."""
    if device.type != "cuda":
        return
    gc.collect()  # bitsandbytes' layers and their weights refer to each other
    clear_workspaces()
    empty_cache(device)


def empty_cache(device: torch.device) -> None:
    """Give back to a GPU the blocks that nothing is in; other sessions' graphs lose nothing."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.empty_cache()


def clear_workspaces() -> None:
    """Free cuBLAS's workspaces, of which each stream has kept one (32 MiB on Hopper)."""
    torch._C._cuda_clearCublasWorkspaces()

"""Between the host's memory and a GPU's, without waiting."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def upload(array: np.ndarray, device: torch.device) -> Tensor:
    """Return a copy of an array on a device; a GPU fetches it while the host goes on."""
    if device.type != "cuda":
        return torch.tensor(np.ascontiguousarray(array))  # a message's array must not be written to
    kind = torch.from_numpy(np.empty(0, array.dtype)).dtype
    pinned = torch.empty(array.shape, dtype=kind, pin_memory=True)
    np.copyto(pinned.numpy(), array)
    return pinned.to(device, non_blocking=True)


def download(tensor: Tensor) -> np.ndarray:
    """Return a tensor's values on the host; a GPU's are there once its queue has got so far."""
    if not tensor.is_cuda:
        return tensor.numpy()
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return pinned.copy_(tensor, non_blocking=True).numpy()

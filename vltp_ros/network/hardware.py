"""What a device is built for."""

from __future__ import annotations

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device is built for products of bfloat16; others take many times as long."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    instructions: dict = getattr(torch.cpu, "get_capabilities", dict)()
    return any(there for name, there in instructions.items() if "bf16" in name)

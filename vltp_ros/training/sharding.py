"""Frozen weights of which each process of a launcher holds a part (FSDP)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.distributed import init_device_mesh
from torch.distributed.fsdp import fully_shard

from vltp_ros.processes import Process


def refuse_alone(process: Process) -> None:
    """Raise ValueError for a process that has no others to share weights with."""
    if process.count == 1:
        raise ValueError(
            "--shard-weights is given and there is one process; start several by torchrun or "
            "accelerate launch"
        )


def shard_frozen(decoder: nn.Module, process: Process) -> None:
    """Leave each process a part of the frozen weights of a language model's linear layers.

    The others' parts are fetched for each product, forwards and backwards. Linear layers are the
    unit, as nothing calls a decoder layer as a whole. What learns stays whole in each process.

    Args:
        decoder: LLaVA's language model in any precision, adapters included.
        process: this one; all call this.
    """
    device = next(decoder.parameters()).device
    mesh = init_device_mesh(device.type, (process.count,))
    for module in decoder.modules():
        if isinstance(module, nn.Linear) and not module.weight.requires_grad:
            _unpack(module, device)
            fully_shard(module, mesh=mesh, reshard_after_forward=True)


def _unpack(linear: Any, device: torch.device) -> None:
    """Make the codes of a 4-bit layer, [n, 1], a parameter like any other.

    Its scales, an eighth of a bit for each weight, stay with the layer in each process.
    """
    scales = getattr(linear.weight, "quant_state", None)
    if scales is None:
        return
    linear.quant_state = scales  # where bitsandbytes looks if the parameter has none
    if device.type == "cpu":
        linear.support_avx512bf16_for_cpu = False  # it would pack what is fetched otherwise
    linear.weight = nn.Parameter(linear.weight.data, requires_grad=False)

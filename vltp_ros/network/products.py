"""What attention by plain products needs, where a CPU trains."""

from __future__ import annotations

import torch
from torch import Tensor

from vltp_ros.network.prune_decoder import without_autocast


def trains_on_cpu(queries: Tensor) -> bool:
    """Return whether a CPU is to compute gradients of attention.

    PyTorch's own goes back in bfloat16 at half the pace of plain products there, and has no fused
    way at all where a bias needs gradients.
    """
    return queries.device.type == "cpu" and queries.requires_grad and not torch.jit.is_tracing()


def softmax(logits: Tensor) -> Tensor:
    """Return the softmax in the type of the logits, summed in float32."""
    with without_autocast(logits):  # which would copy them to float32, and back on the way back
        return logits.softmax(-1)

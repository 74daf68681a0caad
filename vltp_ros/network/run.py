"""How a part of the network is run: as it is, or as a captured CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from torch import Tensor

Run = Callable[..., Any]
"""(key, function, *tensors) -> function(*tensors): eager, or as a captured CUDA graph.

Equal keys promise equal functions, which depend on nothing but their tensors and have static
shapes.
"""


def eager(key: Hashable, function: Callable, *tensors: Tensor) -> Any:
    """Run a function as it is."""
    return function(*tensors)

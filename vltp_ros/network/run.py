"""How a part of the network is run: as it is, or as a captured CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar

from torch import Tensor

Result = TypeVar("Result", bound=Tensor | tuple[Tensor, ...])


class Run(Protocol):
    """Runs a function of tensors: eagerly, or as a captured CUDA graph.

    Equal keys promise equal functions, which depend on nothing but their tensors and have static
    shapes.
    """

    def __call__(self, key: Hashable, function: Callable[..., Result], *tensors: Tensor) -> Result:
        """Return ``function(*tensors)``."""


def eager(key: Hashable, function: Callable[..., Result], *tensors: Tensor) -> Result:
    """Run a function as it is."""
    return function(*tensors)

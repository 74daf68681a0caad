"""Triton where it is installed: PyTorch's builds for the CPU alone come without it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = tl = None

INSTALLED = triton is not None

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether kernels run on the CPU, in Triton's interpreter."""


def jit(*varying: str) -> Callable[[Callable[..., Any]], Any]:
    """Return the decorator of a kernel, or of a function that kernels call.

    Args:
        varying: names of integers for whose values no kernels of their own are compiled.
    """
    if triton is None:
        return lambda function: function
    return triton.jit(do_not_specialize=varying)


def power_of_two(count: int, at_least: int = 1) -> int:
    """Return the smallest power of two that is neither below ``count`` nor below ``at_least``."""
    return max(at_least, 1 << (count - 1).bit_length())


def product_type(dtype: torch.dtype) -> Any:
    """Return Triton's name of the type that matrix products of a type of tensor take.

    That is the type itself, but for bfloat16 in the interpreter, which multiplies none.
    """
    if INTERPRETED and dtype == torch.bfloat16:
        return tl.float32
    return getattr(tl, str(dtype).removeprefix("torch."))

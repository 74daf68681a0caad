"""What the checks of an installation share: what is checked, and how values are compared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


class NotApplicableError(Exception):
    """The device, or what is installed, has no such thing to check."""


@dataclass(frozen=True)
class Context:
    """What is checked."""

    device: torch.device
    quick: bool  # with small sizes only

    @property
    def sam(self) -> str:
        """The size of the image encoder to check with."""
        if self.quick or self.device.type == "cpu":
            return "tabletop"
        return "vit_h"

    def need_gpu(self) -> None:
        """Raise NotApplicableError on a CPU."""
        if self.device.type != "cuda":
            raise NotApplicableError("there is no GPU in this check")


@contextmanager
def exact_float32() -> Iterator[None]:
    """Have convolutions compute float32 in float32; PyTorch lets them round to 10 bits (TF32)."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def relative_error(value: Tensor, expected: Tensor) -> float:
    """Return the relative error, in the norm over all elements."""
    return float((value.double() - expected.double()).norm() / expected.double().norm())


def within(value: float, allowed: float, what: str) -> str:
    """Return what was measured beside what is allowed; AssertionError unless it is within."""
    text = f"{what} {value:.2g}, allowed {allowed:.2g}"
    if not value <= allowed:  # not a number is not allowed either
        raise AssertionError(text)
    return text

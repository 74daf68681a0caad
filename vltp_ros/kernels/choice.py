"""Choose between PyTorch's own operations and a Triton kernel by measuring both on the GPU."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from statistics import median
from typing import TypeVar

import torch
from torch import Tensor

from vltp_ros.kernels.language import INSTALLED

PLAIN = "plain"
"""Name of the way without a kernel."""

TOLERANCE = {torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest |kernel - plain| / |plain|. Both round, so they differ by some units of the type."""

REPETITIONS = 5

HEAD_START = 4_000_000
"""Clock cycles, about 2 ms, for which a GPU idles before what is timed: time to fill its queue, so
that not the host is measured. In a captured graph the host takes no part."""

Result = TypeVar("Result", bound=Tensor | tuple[Tensor, ...])
Option = TypeVar("Option")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """The way that is used for some sizes, and how long each took."""

    used: str  # PLAIN, or the option of the kernel
    option: object  # that of the kernel; None for PLAIN
    milliseconds: dict[str, float] = field(default_factory=dict)  # of all ways that can be used


class Gpu:
    """What a choice has to know of the GPU."""

    def serves(self, tensor: Tensor) -> bool:
        """Return whether kernels are for a tensor: of 16 bits, on an NVIDIA GPU since Ampere.

        Elsewhere tensor cores do not multiply what kernels have to: some took minutes to compile
        without, and more registers than there are.
        """
        if not tensor.is_cuda or tensor.dtype not in (torch.bfloat16, torch.float16):
            return False
        return torch.cuda.get_device_capability(tensor.device) >= (8, 0)

    def capturing(self) -> bool:
        """Return whether a CUDA graph is being captured, in which nothing can be measured."""
        return torch.cuda.is_current_stream_capturing()

    def milliseconds(self, work: Callable[[], object]) -> float:
        """Return the median duration of some work on the current stream, after one run."""
        work()
        torch.cuda._sleep(HEAD_START)
        events = [torch.cuda.Event(enable_timing=True) for _ in range(REPETITIONS + 1)]
        events[0].record()
        for event in events[1:]:
            work()
            event.record()
        events[-1].synchronize()
        return median(a.elapsed_time(b) for a, b in pairwise(events))


class KernelChoice:
    """Runs the faster of two ways; which one that is, it measures once for each size.

    Kernels have no gradients, and are not for all types and GPUs: the rest takes the plain way.

    Attributes:
        enabled: whether kernels may be used; changing it leaves captured graphs as they are.
        choices: of each kernel and size that has been measured.
    """

    def __init__(self, enabled: bool | None = None, gpu: Gpu | None = None) -> None:
        """Measure nothing yet.

        Args:
            enabled: None: where Triton is installed, unless the environment variable VLTP_KERNELS
                is 0.
            gpu: stands for the GPU in tests.
        """
        wanted = INSTALLED and os.environ.get("VLTP_KERNELS") != "0"
        self.enabled = wanted if enabled is None else enabled
        self.choices: dict[tuple[Hashable, ...], Choice] = {}
        self._gpu = gpu or Gpu()
        self._unusable: set[str] = set()

    def run(
        self,
        name: str,
        sizes: tuple[Hashable, ...],
        tensor: Tensor,
        plain: Callable[[], Result],
        kernel: Callable[[Option], Result],
        options: Sequence[Option],
    ) -> Result:
        """Return ``plain()`` or the same from ``kernel(option)``.

        Args:
            name: of the kernel.
            sizes: what its speed depends on beside the tensor's shape, type and device.
            tensor: the input.
            plain: does it with PyTorch's operations.
            kernel: does it with one of the options.
            options: sizes of blocks, numbers of warps, …; none: there is no kernel.
        """
        if not (options and self.enabled and self._gpu.serves(tensor)) or torch.is_grad_enabled():
            return plain()
        key = (name, tuple(tensor.shape), tensor.dtype, tensor.device, *sizes)
        if key not in self.choices:
            if self._gpu.capturing():
                return plain()
            self.choices[key] = self._measure(name, plain, kernel, options)
        choice = self.choices[key]
        return plain() if choice.used == PLAIN else kernel(choice.option)  # type: ignore[arg-type]

    def table(self) -> list[dict[str, object]]:
        """Return a row, fit for JSON, for each kernel and size that has been measured."""
        return [
            {
                "kernel": name,
                "sizes": " ".join(map(str, sizes)),
                "used": choice.used,
                "milliseconds": choice.milliseconds,
            }
            for (name, *sizes), choice in self.choices.items()
        ]

    def _measure(
        self,
        name: str,
        plain: Callable[[], Result],
        kernel: Callable[[Option], Result],
        options: Sequence[Option],
    ) -> Choice:
        """Compare and time all ways; warn once of a kernel that cannot be used."""
        expected, reason = plain(), ""
        choices = [Choice(PLAIN, None)]
        times = {PLAIN: self._gpu.milliseconds(plain)}
        for option in options:
            try:
                wrong = _mistake(kernel(option), expected)
            except (torch.OutOfMemoryError, torch.AcceleratorError):
                raise
            except Exception as error:  # the compiler's are of many kinds
                wrong = f"{type(error).__name__}: {error}"
            if wrong:
                reason = reason or f"{option}: {wrong}"
                continue
            choices.append(Choice(str(option), option))
            times[str(option)] = self._gpu.milliseconds(partial(kernel, option))
        if len(choices) == 1 and name not in self._unusable:
            self._unusable.add(name)
            log.warning("the kernel for %s is not used: %s", name, reason)
        best = min(choices, key=lambda choice: times[choice.used])
        return Choice(best.used, best.option, times)


def _mistake(result: Result, expected: Result) -> str:
    """Return what is wrong with a result; nothing where it is that of the plain way."""
    for value, wanted in zip(_tensors(result), _tensors(expected), strict=True):
        if (value.shape, value.dtype) != (wanted.shape, wanted.dtype):
            return f"it gives {_kind(value)}, not {_kind(wanted)}"
        error, norm = (value.float() - wanted.float()).norm().item(), wanted.float().norm().item()
        if not error <= TOLERANCE[wanted.dtype] * norm:  # true of NaN too
            return f"it is off by {error:.2g} of {norm:.2g}; allowed: {TOLERANCE[wanted.dtype]:.1%}"
    return ""


def _kind(tensor: Tensor) -> str:
    """Return type and shape of a tensor in words."""
    return f"{tensor.dtype} {tuple(tensor.shape)}"


def _tensors(result: Result) -> tuple[Tensor, ...]:
    """Return the tensors of a result."""
    return result if isinstance(result, tuple) else (result,)


KERNELS = KernelChoice()
"""What the network asks, for all models of the process."""

"""Muon: momentum whose matrices are made orthogonal (Jordan et al., 2024).

A kernel of a convolution is a matrix too, with a row for each channel that comes out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of the quintic that takes singular values towards 1, by Jordan et al."""

ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Muon for matrices, those of one shape at once, in a type that the device is fast in.

    PyTorch's takes bfloat16 everywhere, which a CPU without instructions for it computes a hundred
    times slower than float32.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        """Take matrices [m, n] and kernels [m, ...], whose n is the product of the rest.

        Args:
            params: these, or groups of them with settings of their own.
            lr: step of each matrix, times sqrt(max(1, m / n)).
            weight_decay: share of lr by which weights shrink in a step.
            momentum: Nesterov's, 0..1.
            dtype: in which updates are made orthogonal.
        """
        self.dtype = dtype
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step with the gradients that there are; a closure is not supported."""
        for group in self.param_groups:
            shapes: defaultdict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for (rows, *others), parameters in shapes.items():
                columns = math.prod(others)
                updates = [self._momentum(p, group["momentum"]).flatten(1) for p in parameters]
                size = group["lr"] * max(1.0, rows / columns) ** 0.5
                shrink = 1 - group["lr"] * group["weight_decay"]
                ready = orthogonal(torch.stack(updates), self.dtype)
                for parameter, update in zip(parameters, ready, strict=True):
                    parameter.mul_(shrink).add_(update.view_as(parameter), alpha=-size)

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        """Add the gradient to the running mean; return the mean one step ahead (Nesterov)."""
        state = self.state[parameter]
        if "mean" not in state:
            state["mean"] = torch.zeros_like(parameter)
        grad = parameter.grad
        assert grad is not None
        mean = state["mean"].lerp_(grad, 1 - momentum)
        return grad.lerp(mean, momentum)


def orthogonal(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Return matrices [B, m, n] with their singular values brought near 1, by Newton-Schulz.

    Args:
        matrices: of any scale.
        dtype: in which to compute; the result has the type of the matrices.
    """
    a, b, c = COEFFICIENTS
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    x = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    x = x.to(dtype)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    x = x.to(matrices.dtype)
    return x if matrices.shape[1] <= matrices.shape[2] else x.mT

"""Muon: momentum whose matrices are made orthogonal (Jordan et al., 2024)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of the quintic that takes singular values towards 1, by Jordan et al."""

ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Muon for matrices, on a GPU those of one shape at once, in the type that a device is fast in.

    PyTorch's takes bfloat16 everywhere, which a CPU without instructions for it computes a hundred
    times slower than float32.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
    ) -> None:
        """Take matrices [m, n].

        Args:
            params: matrices, or groups of them with settings of their own.
            lr: step of each matrix, times sqrt(max(1, m / n)).
            weight_decay: share of lr by which weights shrink in a step.
            momentum: Nesterov's, 0..1.
        """
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step with the gradients that there are; a closure is not supported."""
        for group in self.param_groups:
            shapes: defaultdict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for (rows, columns), parameters in shapes.items():
                updates = [self._momentum(p, group["momentum"]) for p in parameters]
                size = group["lr"] * max(1.0, rows / columns) ** 0.5
                shrink = 1 - group["lr"] * group["weight_decay"]
                # A GPU waits for launches; a CPU multiplies matrices faster one by one.
                together = len(updates) if updates[0].is_cuda else 1
                ready = [orthogonal(part) for part in torch.stack(updates).split(together)]
                for parameter, update in zip(parameters, torch.cat(ready), strict=True):
                    parameter.mul_(shrink).add_(update, alpha=-size)

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        """Add the gradient to the running mean; return the mean one step ahead (Nesterov)."""
        state = self.state[parameter]
        if "mean" not in state:
            state["mean"] = torch.zeros_like(parameter)
        grad = parameter.grad
        assert grad is not None
        mean = state["mean"].lerp_(grad, 1 - momentum)
        return grad.lerp(mean, momentum)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return matrices [B, m, n] with their singular values brought near 1, by Newton-Schulz."""
    a, b, c = COEFFICIENTS
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    x = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    x = x.to(torch.bfloat16 if matrices.is_cuda else torch.float32)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    x = x.to(matrices.dtype)
    return x if matrices.shape[1] <= matrices.shape[2] else x.mT

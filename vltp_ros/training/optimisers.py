"""The optimisers of a training, and how their rates change with its steps."""

from __future__ import annotations

import math

import torch
from torch import nn

from vltp_ros.training.config import TrainConfig
from vltp_ros.training.muon import Muon
from vltp_ros.training.run_directory import learning


def schedule(step: int, config: TrainConfig) -> float:
    """Return the share of the peak learning rates at a step: linear warm-up, then down."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    share = (step - config.warmup) / max(1, config.steps - config.warmup)
    left = 1 - share if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * share))
    return config.final_share + (1 - config.final_share) * left


def new_optimisers(
    stage: nn.Module, config: TrainConfig, dtype: torch.dtype
) -> list[torch.optim.Optimizer]:
    """Return Muon for what linear layers and convolutions multiply with and AdamW for the rest.

    Or AdamW for all. Tables that are looked up row by row (embeddings, positions) are no matrices
    in Muon's sense, whose products are computed in ``dtype``. Parameters of the modules that the
    stage names in ``finetuned`` have smaller rates.
    """
    matrix_ids = _matrix_ids(stage) if config.optimiser == "muon" else set()
    adamw, muon = [], []
    for finetuned, scale in ((False, 1.0), (True, config.finetune_share)):
        named = [
            (name, parameter)
            for name, parameter in learning(stage).items()
            if finetuned == name.removeprefix("model.").startswith(getattr(stage, "finetuned", ()))
        ]
        rest = [p for _, p in named if id(p) not in matrix_ids]
        muon.append({"params": [p for _, p in named if id(p) in matrix_ids], "scale": scale})
        adamw += [
            {"params": [p for p in rest if p.ndim > 1], "scale": scale},
            {"params": [p for p in rest if p.ndim <= 1], "scale": scale, "weight_decay": 0.0},
        ]
    filled = [[group for group in groups if group["params"]] for groups in (adamw, muon)]
    decay = config.weight_decay
    optimisers: list[torch.optim.Optimizer] = []
    if filled[0]:
        rate, betas = config.learning_rate, config.betas
        optimisers.append(torch.optim.AdamW(filled[0], lr=rate, betas=betas, weight_decay=decay))
    if filled[1]:
        rate = config.muon_learning_rate
        optimisers.append(Muon(filled[1], lr=rate, weight_decay=decay, dtype=dtype))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak"] = group["scale"] * group["lr"]
    return optimisers


def _matrix_ids(stage: nn.Module) -> set[int]:
    """Return the ids of the weights of linear layers and convolutions."""
    products = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    ids = {id(module.weight) for module in stage.modules() if isinstance(module, products)}
    # A language model's head may share its weight with the table of words.
    return ids - {id(m.weight) for m in stage.modules() if isinstance(m, nn.Embedding)}


def set_rates(optimisers: list[torch.optim.Optimizer], share: float) -> None:
    """Let each group learn at a share, 0..1, of its peak rate."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = share * group["peak"]

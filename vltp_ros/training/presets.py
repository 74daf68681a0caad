"""Settings of the paper and of its authors' code, by name; docs/reproduce.md has the differences.

The paper names its losses, what learns and for how many epochs a pruned half is trained; what it
leaves open is as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EPOCH = 500
"""Steps that the authors' code calls an epoch; it draws images, and never counts them."""

SCHEDULE = {
    "batch": 20,
    "tasks_per_image": 1,
    "optimiser": "adamw",
    "learning_rate": 3e-4,
    "betas": (0.9, 0.95),
    "weight_decay": 0.0,
    "warmup": 100,
    "schedule": "linear",
    "final_share": 0.0,
    "clip": 1.0,
    "mask_size": "original",
}
"""What both stages share, in the authors' code."""

PRUNING = {**SCHEDULE, "finetune_share": 1.0, "rates": (0.5,)}

PRESETS: dict[str, dict[str, Mapping[str, Any]]] = {
    "finetune": {
        "paper": {**SCHEDULE, "steps": 10 * EPOCH},
        "authors": {**SCHEDULE, "steps": 10 * EPOCH, "token_weight": 1.0, "train_words": True},
    },
    "train": {
        "paper": {**PRUNING, "steps": 9 * EPOCH, "top_k": "soft"},
        "authors": {**PRUNING, "steps": 10 * EPOCH},
    },
}
"""Command -> name -> setting of TrainConfig -> value."""


def preset_words(command: str, name: str) -> list[str]:
    """Return a preset as the words that one would type; KeyError for none of that name."""
    words: list[str] = []
    for setting, value in PRESETS[command][name].items():
        words.append(f"--{setting.replace('_', '-')}")
        if value is not True:
            words += map(str, value if isinstance(value, tuple) else [value])
    return words

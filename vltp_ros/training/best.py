"""The weights of a training's best validation, kept beside its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from vltp_ros.training.run_directory import read_checkpoint, replace_file, weights_of

BEST = "best.pt"

KEYS = {"stage", "step", "merit"}
"""Of the file: the weights, how many steps they took, and how good they are."""


def merit(measured: Mapping[str, float]) -> float:
    """Return how good a validation is: its gIoU where masks are drawn, else its loss, negated."""
    return measured["val_giou"] if "val_giou" in measured else -measured["val_loss"]


class BestWeights:
    """The file of a run, replaced when a validation is better than all before."""

    def __init__(self, run: Path, start: int) -> None:
        """Look what is kept; a run that starts anew forgets it.

        Args:
            run: its directory.
            start: step that it goes on from.

        Raises:
            ValueError: for a damaged file.
        """
        self._path = run / BEST
        self._step, self._merit = 0, -float("inf")
        if start == 0:
            self._path.unlink(missing_ok=True)
        elif self._path.is_file():
            kept = read_checkpoint(self._path, KEYS)
            self._step, self._merit = kept["step"], kept["merit"]

    def offer(self, stage: nn.Module, steps: int, measured: Mapping[str, float]) -> None:
        """Keep the weights of a stage after so many steps, if they are the best.

        Raises:
            OSError: naming the file, where it cannot be written; the one before is still there.
        """
        value = merit(measured)
        if value > self._merit or steps == self._step:  # a killed run validates again
            self._step, self._merit = steps, value
            state = {"stage": weights_of(stage), "step": steps, "merit": value}
            replace_file(self._path, lambda file: torch.save(state, file))


def take_best(stage: nn.Module, run: Path) -> int:
    """Give a stage the best weights of its run; return after how many steps it had them.

    Raises:
        ValueError: for a file that is missing or damaged.
    """
    path = run / BEST
    if not path.is_file():
        raise ValueError(f"{path} does not exist; --keep best needs a run that has validated")
    kept = read_checkpoint(path, KEYS)
    stage.load_state_dict(kept["stage"], strict=False)
    return kept["step"]

"""The directory of a training run, from which it goes on when it was stopped.

run.json         what the run was begun with, by the names of options
checkpoint.pt    what learns, all buffers, optimisers and step; replaced in one move
best.pt          with a validation: what learns and all buffers at the best one, see best.py
losses.jsonl     the losses, one line a step, in some with what was measured on held-out scenes
losses.csv, tensorboard/    the same, where asked for
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from vltp_ros.settings import decisive
from vltp_ros.training.run_options import refuse_other_options

RECORD, CHECKPOINT, LOSSES = "run.json", "checkpoint.pt", "losses.jsonl"

KEYS = {"stage", "step", "seconds", "optimisers"}
"""Of a checkpoint."""


def options_of(settings: Any, prefix: str = "--") -> dict[str, Any]:
    """Return option -> value of a settings dataclass, without what changes no result."""
    values = decisive(settings)
    return {f"{prefix}{name.replace('_', '-')}": value for name, value in values.items()}


def begin(run: Path, options: Mapping[str, Any]) -> None:
    """Record what a run is begun with, unless it was begun before.

    A run without a checkpoint has nothing to go on from and may begin with anything; one without a
    record was begun when none was kept.

    Raises:
        ValueError: for a run with a checkpoint that was begun with other options.
    """
    path, own = run / RECORD, json.loads(json.dumps(options))  # as it is read: no tuples
    stored = own
    if (run / CHECKPOINT).is_file() and path.is_file():
        try:
            stored = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}); give another --run") from error
    refuse_other_options(own, stored, f"the run in {run}")
    run.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(stored, indent=1) + "\n")


def learning(stage: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that require gradients, by name."""
    return {name: p for name, p in stage.named_parameters() if p.requires_grad}


def weights_of(stage: nn.Module) -> dict[str, Tensor]:
    """Return by name what learns, and all buffers."""
    tensors = {**learning(stage), **dict(stage.named_buffers())}
    return {name: tensor.detach() for name, tensor in tensors.items()}


def save(
    stage: nn.Module,
    optimisers: list[torch.optim.Optimizer],
    step: int,
    seconds: float,
    run: Path,
) -> None:
    """Write the checkpoint of a run after ``step`` steps that took ``seconds``.

    Raises:
        OSError: naming the file, where it cannot be written; the one before is still there.
    """
    state: dict[str, Any] = {"stage": weights_of(stage), "step": step, "seconds": seconds}
    state["optimisers"] = [optimiser.state_dict() for optimiser in optimisers]
    replace_file(run / CHECKPOINT, lambda file: torch.save(state, file))


def resume(
    stage: nn.Module, optimisers: list[torch.optim.Optimizer], run: Path
) -> tuple[int, float]:
    """Load a run's checkpoint.

    Returns:
        Its step, and the seconds spent before; 0 and 0 for a new run.

    Raises:
        ValueError: for a checkpoint that is damaged, or of another run.
    """
    path = run / CHECKPOINT
    if not path.is_file():
        return 0, 0.0
    saved = read_checkpoint(path)
    for name, parameter in learning(stage).items():
        tensor = saved["stage"].get(name)
        if tensor is None or tensor.shape != parameter.shape:
            stored = "missing" if tensor is None else tuple(tensor.shape)
            raise ValueError(
                f"{path} is of another run: its {name} is {stored}, not {tuple(parameter.shape)}; "
                "give another --run, or the settings of that one"
            )
    stage.load_state_dict(saved["stage"], strict=False)
    try:
        for optimiser, state in zip(optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
    except (ValueError, LookupError) as error:
        raise ValueError(
            f"{path} is of another run: its optimisers are of other weights; give another --run, "
            "or the settings of that one"
        ) from error
    return saved["step"], saved["seconds"]


def read_checkpoint(path: Path, keys: Set[str] = KEYS) -> dict[str, Any]:
    """Read a checkpoint, which has these keys, to the CPU's memory.

    Raises:
        ValueError: for a file that is none.
    """
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
        if keys <= saved.keys():
            return saved
        reason = "it lacks what a training stores"
    except (
        pickle.UnpicklingError, RuntimeError, ValueError, LookupError, EOFError, AttributeError
    ) as error:  # fmt: skip
        # PyTorch's own words advise to load it as code, which could do anything.
        reason = type(error).__name__
    raise ValueError(
        f"{path} is damaged or no checkpoint ({reason}); put a copy in its place, or remove it to "
        "train from the start"
    )


def replace_text(path: Path, text: str) -> None:
    """Replace a file by a text, as :func:`replace_file` does."""
    replace_file(path, lambda file: file.write(text.encode()))


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write under another name, then rename: a file that exists is whole.

    Raises:
        OSError: naming the file, where it cannot be written, as on a full disk.
    """
    partial_file = path.with_suffix(".part")
    try:
        with naming(path), partial_file.open("wb") as file:
            write(file)
        os.replace(partial_file, path)
    except OSError:
        partial_file.unlink(missing_ok=True)  # which a full disk has no room for
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let the system's errors, and what PyTorch makes of them, name the file that is written."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise OSError(cause.errno, cause.strerror, str(path)) from error

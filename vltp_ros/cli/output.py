"""The option of commands that write a model directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(kw_only=True)
class ForceOption:
    """What may be overwritten."""

    force: bool = False
    """Overwrite the model that --out holds; anything else there is still refused."""


def check_training_output(run: Path, out: Path, force: bool) -> None:
    """Check, before a training, that its model can be written when it is done.

    Args:
        run: directory of checkpoint and losses.
        out: model directory to write.
        force: whether that may hold a model.

    Raises:
        ValueError: for an ``out`` that may not be written to, or that ``run`` lies in.
    """
    from vltp_ros.checkpoints.output import check_output

    if run.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"--out is {out}, where --run {run} lies; give another --out")
    check_output(out, force)

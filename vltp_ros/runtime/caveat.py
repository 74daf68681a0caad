"""What to know of a model before its answers are believed."""

from __future__ import annotations

from pathlib import Path

import yaml

from vltp_ros.checkpoints.text_files import read_yaml

SIMULATED = "simulated"
"""First word of ``trained_on`` in model.yaml where no photograph was seen."""


def caveat_of(directory: Path | str) -> str:
    """Return what limits a model's answers, in one line; empty for nothing that is known.

    Needs nothing that takes long to import. A directory that is no model has no caveat: whoever
    loads it is told.
    """
    try:
        description = read_yaml(Path(directory) / "model.yaml")
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return ""
    trained_on = description.get("trained_on") if isinstance(description, dict) else None
    if not isinstance(trained_on, str) or not trained_on.startswith(SIMULATED):
        return ""
    return f"{directory} was trained on {trained_on} only; answers on photographs mean nothing"


def doubt_about(task: str, unseen: tuple[str, ...]) -> str:
    """Return in one line that a model has not seen words of a task; empty if it has seen all."""
    if not unseen:
        return ""
    words = ", ".join(map(repr, unseen))
    return f"task {task!r}: the model saw no {words} in training; its answer may be wrong"

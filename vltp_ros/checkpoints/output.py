"""Directories that models are written to: which may be, and how one is replaced."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

import yaml

from vltp_ros.checkpoints.adapters import ADAPTER
from vltp_ros.checkpoints.errors import ModelError
from vltp_ros.checkpoints.golden import FOLDER
from vltp_ros.checkpoints.text_files import read_yaml

CONTENTS = ("model.yaml", "*.safetensors", "llava", ADAPTER, FOLDER)
"""Patterns of what a model consists of; all else in its directory is its owner's."""

CARD, OLD_CARD = "README.md", "README.old.md"
"""What says of a model what no file does, and its name once the model was overwritten."""


def check_output(directory: Path, overwrite: bool = False) -> None:
    """Check that a model may be written to a directory: one that is missing, or has a card alone.

    Args:
        directory: to be written.
        overwrite: whether it may hold a model, which then is replaced.

    Raises:
        ModelError: for a directory that holds anything else, or a file.
    """
    if directory.exists() and not directory.is_dir():
        raise ModelError(f"{directory} is a file; a model needs a directory")
    names = sorted(path.name for path in directory.glob("*") if path.name != CARD)
    if not names or (overwrite and is_model(directory)):
        return
    parts = [name for pattern in CONTENTS for name in names if fnmatch(name, pattern)]
    if not parts:
        raise ModelError(
            f"{directory} holds {names[0]} and is no model directory; give another --out"
        )
    force = ", or --force to overwrite the model" if is_model(directory) else ""
    raise ModelError(
        f"{directory} holds {parts[0]} already; remove it or give another --out{force}"
    )


def is_model(directory: Path) -> bool:
    """Return whether a directory has a description of a model, valid or not."""
    try:
        description = read_yaml(directory / "model.yaml")
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return False
    return isinstance(description, dict) and {"config", "sha256"} <= description.keys()


@contextmanager
def replacing(directory: Path) -> Iterator[Path]:
    """Give a directory for a new model, and put it in place unless something is raised.

    Files of the old one that are no part of its model are kept; its card is renamed to OLD_CARD.
    """
    directory = Path(directory).resolve()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        fresh = Path(scratch) / "model"
        if directory.exists():
            shutil.copytree(directory, fresh, ignore=_ignored(directory))
            if is_model(directory) and (fresh / CARD).exists():
                os.replace(fresh / CARD, fresh / OLD_CARD)
        fresh.mkdir(exist_ok=True)
        yield fresh
        old = Path(scratch) / "old"
        if directory.exists():
            os.replace(directory, old)
        os.replace(fresh, directory)


def _ignored(directory: Path) -> Callable[[str, list[str]], list[str]]:
    """Return what makes shutil.copytree leave out the model itself."""

    def ignore(folder: str, names: list[str]) -> list[str]:
        if Path(folder) != directory:
            return []
        return [name for name in names if any(fnmatch(name, pattern) for pattern in CONTENTS)]

    return ignore

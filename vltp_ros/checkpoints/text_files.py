"""Configurations of model directories, read so that no file, however made, takes long or much."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from vltp_ros.checkpoints.errors import ModelError

MAX_BYTES = 2**26
"""Of a configuration or a tokenizer: the largest in use have a quarter of it."""

MAX_REPEATS = 3
"""Of a pattern for names of modules: it takes at most the cube of a name's length to match."""

REPEAT = re.compile(r"(?<!\\)[*+?{]")


def check_size(path: Path) -> None:
    """Raise ModelError for a file that is too large to be a configuration or a tokenizer."""
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ModelError(
            f"{path} has {size / 2**20:.0f} MiB; a configuration or a tokenizer may have at most "
            f"{MAX_BYTES / 2**20:.0f}"
        )


def read_yaml(path: Path) -> Any:
    """Read a YAML file without aliases, by which a few lines can stand for any number.

    Raises:
        ModelError: for a file that is too large.
        yaml.YAMLError: for one that is not valid.
        UnicodeDecodeError: for one that is no text.
    """
    check_size(path)
    return yaml.load(path.read_text(), Loader=PlainLoader)


class PlainLoader(yaml.SafeLoader):
    """Refuses aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose what is no alias."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.YAMLError(f"alias *{event.anchor} is not allowed\n{event.start_mark}")
        return super().compose_node(parent, index)


def check_pattern(pattern: str, what: str) -> None:
    """Raise ValueError for a regular expression that can take for ever to match a name.

    Args:
        pattern: for names of modules.
        what: whose name the error begins with.
    """
    repeats = len(REPEAT.findall(pattern))
    if repeats > MAX_REPEATS or re.search(r"(?<!\\)\)[*+?{]", pattern) or len(pattern) > 1000:
        raise ValueError(
            f"{what} is {pattern[:80]!r}; a pattern may have at most {MAX_REPEATS} of * + ? {{, "
            "none of them after a group, and 1000 characters"
        )


def write_yaml(path: Path, values: dict) -> None:
    """Write a mapping, in place of the file when it is whole."""
    partial_file = path.with_suffix(".part")
    partial_file.write_text(yaml.safe_dump(values, sort_keys=False))
    os.replace(partial_file, path)

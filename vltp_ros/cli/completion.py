"""Scripts that complete commands and options in a shell, by tyro."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Mapping
from typing import Annotated, Any, Union

import tyro

from vltp_ros.cli.parsing import registry

SHELLS = ("bash", "zsh", "fish")


def script(shell: str, commands: Mapping[str, str]) -> str:
    """Return the script that completes ``vltp`` in one of SHELLS.

    Args:
        shell: its name.
        commands: name -> class of its options in the module of that name.
    """
    kinds = [
        Annotated[_options(name, cls), tyro.conf.subcommand(name)] for name, cls in commands.items()
    ]
    any_of: Any = Union[tuple(kinds)]  # noqa: UP007 - of so many as there are
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        tyro.cli(
            any_of,
            prog="vltp",
            args=["--tyro-write-completion", shell, "-"],
            config=(tyro.conf.CascadeSubcommandArgs, tyro.conf.OmitSubcommandPrefixes),
            registry=registry(""),
        )
    return printed.getvalue()


def _options(name: str, cls: str) -> type:
    """Return the dataclass of a command's options."""
    return getattr(importlib.import_module(f"vltp_ros.cli.{name}"), cls)

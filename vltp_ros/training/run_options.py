"""What a run was begun with, and that it goes on with the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def refuse_other_options(own: Mapping[str, Any], stored: Mapping[str, Any], place: str) -> None:
    """Raise ValueError naming the first option that is not as a run was begun with.

    Args:
        own: option -> value as JSON has it, without tuples.
        stored: the same of the run; what it does not name is as it was.
        place: where that is stored, in words: "the run in DIRECTORY".
    """
    for name, value in own.items():
        if (before := stored.get(name, value)) != value:
            raise ValueError(
                f"{name} is {_shown(value)}; {place} was begun with {_shown(before)}; "
                "give the same, or another --run"
            )


def _shown(value: Any) -> str:
    """Return an option's value as one would give it."""
    if value is None:
        return "not given"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)

"""Result files in, Markdown out."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "benchmarks"


def ms(value: float) -> str:
    """Return milliseconds in so many digits as say something."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def mib(value: float | None) -> str:
    """Return mebibytes, empty for none."""
    return "" if value is None else f"{value:.0f}"


def read(name: str) -> dict:
    """Return a result file."""
    return json.loads((RESULTS / name).read_text())


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def measured(answer: dict, what: str) -> str:
    """Return a line about what was measured, and on what."""
    return f"\n{what}; {device(answer)}.\n"


def device(answer: dict) -> str:
    """Return hardware and version of PyTorch."""
    return f"{answer['hardware']}, torch {answer['versions']['torch']}"

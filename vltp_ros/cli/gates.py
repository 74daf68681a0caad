"""vltp gates: check that data sets of crowded scenes make a model look."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from vltp_ros.cli.options import Command


@dataclass
class Gates(Command):
    """Measure what scenes of edition 2 must show; exit status 1 if a figure is out of its range."""

    train: Path
    """Data set of `vltp scenes --edition 2` that constant answers are chosen on."""
    val: Path
    """Data set that they are judged on."""


def run(args: Gates) -> dict:
    """Measure; ValueError for a data set that is empty or of edition 1."""
    from vltp_ros.data.scenes import TabletopDataset
    from vltp_ros.evaluation.gates import check

    rows = check(TabletopDataset(args.train), TabletopDataset(args.val))
    return {
        "rows": [{**asdict(row), "passed": row.passed} for row in rows],
        "passed": all(row.passed for row in rows),
    }


def describe(answer: dict) -> str:
    """Return a line for each figure."""
    lines = [
        f"{'ok  ' if row['passed'] else 'FAIL'}  {row['split']:8} {row['name']:28} "
        f"{row['value']:8.3f}   {row['low']:g} to {row['high']:g}"
        for row in answer["rows"]
    ]
    return "\n".join([*lines, "all gates hold" if answer["passed"] else "a gate does not hold"])


def status(answer: dict) -> int:
    """Return the exit status: 1 if a figure is out of its range."""
    return 0 if answer["passed"] else 1

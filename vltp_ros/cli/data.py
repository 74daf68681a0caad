"""vltp data: check the public data sets on this disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from vltp_ros.cli.options import Command

SHOWN = 10
"""Lines of problems that are printed for a data set; --json has all."""


@dataclass
class Data(Command):
    """Count and verify public data sets; exit status 1 where anything is bad or missing.

    docs/reproduce.md says which folders they belong in. Nothing is downloaded or changed.
    """

    action: tyro.conf.Positional[Literal["check"]]
    """What to do: check decodes every image and compares it with the annotations."""
    root: tyro.conf.Positional[Path]
    """Folder with a folder for each data set, and coco/ with COCO's images."""
    dataset: tuple[str, ...] = ()
    """Names of data sets, e.g. rio-common coco-tasks-test; all if not given."""


def run(args: Data) -> dict:
    """Check; ValueError for an unknown name or a root that is no folder."""
    from vltp_ros.data.check import check_datasets
    from vltp_ros.data.registry import DATASETS

    rows = list(check_datasets(args.dataset or tuple(DATASETS), args.root))
    return {
        "root": str(args.root),
        "rows": rows,
        "passed": not any(row["bad"] or row["missing"] for row in rows),
    }


def describe(answer: dict) -> str:
    """Return a line for each data set, with what is wrong below."""
    lines = []
    for row in answer["rows"]:
        lines.append(
            f"{row['dataset']:16} {row['images']:6} images {row['expressions']:6} expressions "
            f"{row['tasks']:4} tasks {row['empty']:6} empty   "
            f"{len(row['bad'])} bad, {len(row['missing'])} missing"
        )
        for kind in ("bad", "missing"):
            lines += [f"  {kind}: {problem}" for problem in row[kind][:SHOWN]]
            if len(row[kind]) > SHOWN:
                lines.append(f"  and {len(row[kind]) - SHOWN} more {kind}; --json has all")
        if row["missing"]:
            lines.append(f"  {row['publisher']}")
    return "\n".join([*lines, "all is well" if answer["passed"] else "something is wrong"])


def status(answer: dict) -> int:
    """Return the exit status: 1 where anything is bad or missing."""
    return 0 if answer["passed"] else 1

"""vltp tables: the paper's costs beside those counted here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import groupby

from vltp_ros.cli.options import Command


@dataclass
class Tables(Command):
    """Compare columns of the paper's tables that need no data set with what is counted here."""

    costs: bool = False
    """Compare the encoder's giga multiply-accumulates, Tables 3-8."""


def run(args: Tables) -> dict:
    """Count; ValueError if no column is asked for."""
    from vltp_ros.evaluation.tables import cost_rows

    if not args.costs:
        raise ValueError("no column of the tables is asked for; allowed: --costs")
    return {"rows": [{**dataclasses.asdict(row), "fits": row.fits} for row in cost_rows()]}


def describe(answer: dict) -> str:
    """Return one block per table, then how many rows fit."""
    from vltp_ros.evaluation.tables import TABLES

    rows = answer["rows"]
    width = max(len(row["label"]) for row in rows)
    lines = ["GMACs of the image encoder and its prune decoder, one image and one task", ""]
    for number, group in groupby(rows, key=lambda row: row["table"]):
        lines += [f"Table {number}: {TABLES[number].title}"]
        lines += [f"  {'':{width}}   paper     ours    diff"]
        lines += [f"  {row['label']:{width}}  {_figures(row)}" for row in group]
        lines += [""]
    counted = [row for row in rows if not row["exempt"]]
    fitting = sum(row["fits"] for row in counted)
    lines += [
        f"ok: ours is at or below the paper's figure, {fitting} of {len(counted)} rows",
        f"exempt: the paper's figure follows from no cost model, {len(rows) - len(counted)} rows",
    ]
    return "\n".join(lines)


def _figures(row: dict) -> str:
    difference = row["gmacs"] / row["paper_gmacs"] - 1
    mark = "exempt" if row["exempt"] else "ok" if row["fits"] else "above"
    return f"{row['paper_gmacs']:6.0f}  {row['gmacs']:7.1f}  {difference:+6.1%}  {mark}"

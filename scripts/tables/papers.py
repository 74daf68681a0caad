"""Tables about the papers' tables, filled on crowded scenes."""

from __future__ import annotations

from tables.markdown import measured, read, table
from vltp_ros.evaluation.rows import TITLES

PAPER = ("common", "uncommon", "coco-tasks")
"""Data that the paper's columns are of."""


def papers() -> str:
    """Tabulate every row of Tables 2-8 and LVLM_CSP's beside the paper's."""
    answer = read("tables.json")
    splits = list(dict.fromkeys(row["split"] for row in answer["rows"]))
    measured_rows: dict[tuple[str, str], list[dict]] = {}
    for row in answer["rows"]:
        measured_rows.setdefault((row["table"], row["label"]), []).append(row)
    rows, last = [], ""
    for name, label in sorted(measured_rows, key=lambda key: key[0]):
        some = measured_rows[name, label]
        ours = [_giou([row for row in some if row["split"] == split]) for split in splits]
        paper = [f"{some[0]['paper'][data]:.1f}" if data in some[0]["paper"] else ""
                 for data in PAPER]  # fmt: skip
        title = TITLES[name] if name == "csp" else f"{name}: {TITLES[name]}"
        gmacs = sum(row["gmacs"] for row in some) / len(some)
        rows.append(["" if name == last else title, label, *ours, f"{gmacs:.2f}", *paper])
        last = name
    head = ["table", "row", *splits, "GMACs", *(f"paper, {data}" for data in PAPER)]
    what = f"gIoU and its standard error on {answer['rows'][0]['count']} questions of each split"
    return table(head, rows) + measured(answer, what)


def _giou(rows: list[dict]) -> str:
    """Return mean gIoU of some trainings, and the standard error over the images."""
    means = [sum(row[key] for row in rows) / len(rows) for key in ("giou", "giou_error")]
    return f"{means[0]:.3f} ± {means[1]:.3f}"


def hypotheses() -> str:
    """Tabulate what was expected of the rows, and whether it holds."""
    rows = [
        [one["table"], one["name"], f"{one['margin']:g}",
         f"{one['difference']:+.1f} ± {one['error']:.1f}", "holds" if one["holds"] else "**fails**"]
        for one in read("tables.json")["hypotheses"]
    ]  # fmt: skip
    return table(["table", "expected", "margin", "difference", ""], rows)

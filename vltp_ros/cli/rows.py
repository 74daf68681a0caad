"""vltp rows: the papers' tables on crowded scenes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from vltp_ros.cli.options import Command, ModelOption
from vltp_ros.evaluation.rows import TableName, paper_rows
from vltp_ros.training.config import PRUNING, TrainConfig


@dataclass
class Rows(ModelOption, Command):
    """Train and measure the rows of the papers' tables around a model's dense half.

    All are trained alike; what is frozen is computed once and stored. Each row is measured on all
    questions of the same scenes, and docs/benchmarks/hypotheses.md is tested on them. A killed run
    continues when the same command is given again.
    """

    data: Path
    """Data set of `vltp scenes --edition 2` to train on."""
    on: Path
    """Data set of `vltp scenes --edition 2` to measure on."""
    run: Path
    """Directory for trainings, stored features and results."""
    table: tuple[TableName, ...] = ("3", "6", "7", "csp")
    """Tables to fill, one or more; csp: LVLM_CSP's."""
    count: int | None = None
    """Number of scenes to measure on, the first ones; all if not given."""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = PRUNING


def run(args: Rows) -> dict:
    """Train and measure; ValueError for a bad model, data set or count."""
    if args.count is not None and args.count < 2:
        raise ValueError(f"--count is {args.count}; it must be at least 2, for a standard error")
    from vltp_ros.data.scenes import TabletopDataset
    from vltp_ros.evaluation.comparisons import compare
    from vltp_ros.evaluation.machine import measured_on
    from vltp_ros.evaluation.row_runner import RowRunner
    from vltp_ros.runtime.session import Session

    session = Session.load(args.model_directory, "cpu", precision="float32")
    data, held_out = TabletopDataset(args.data), TabletopDataset(args.on)
    runner = RowRunner(session.model.eval(), data, held_out, args.config, args.run, args.count)
    rows = runner.run(paper_rows(args.table))
    shown = [{key: value for key, value in row.items() if key != "scenes"} for row in rows]
    return {
        "model": session.name,
        **measured_on(session.device),
        "rows": shown,
        "hypotheses": compare(rows),
    }


def describe(answer: dict) -> str:
    """Return a table of the rows and one of the hypotheses."""
    width = max(len(row["label"]) for row in answer["rows"])
    lines = [f"table {'row':{width}} seed   gIoU   cIoU   GMACs"]
    lines += [
        f"{row['table']:5} {row['label']:{width}} "
        f"{'' if row['seed'] is None else row['seed']!s:>4} "
        f"{row['giou']:6.3f} {row['ciou']:6.3f} {row['gmacs']:7.2f}"
        for row in answer["rows"]
    ]
    lines += [
        f"{'holds' if h['holds'] else 'FAILS'}: {h['name']}: {h['difference']:+.1f} points, "
        f"standard error {h['error']:.1f}; margin {h['margin']:g}"
        for h in answer["hypotheses"]
    ]
    return "\n".join(lines)

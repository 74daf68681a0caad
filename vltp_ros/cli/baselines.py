"""vltp baselines: the paper's Table 7 on tabletop scenes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from vltp_ros.cli.options import Command, ModelOption, SplitOption
from vltp_ros.training.config import PRUNING, TrainConfig

VLTP_RATES = (0.42, 0.76, 0.8)
"""Those at which VLTP costs a little less than CTS, SViT and DToP."""


@dataclass
class Baselines(ModelOption, SplitOption, Command):
    """Train and compare CTS, DToP, SViT, random pruning and VLTP around a model's dense half.

    All are trained alike, VLTP once for each of --rates. A killed run continues when the same
    command is given again.
    """

    data: Path
    """Data set written by `vltp scenes`, to train on."""
    run: Path
    """Directory for checkpoints and losses, with a folder for each method."""
    count: int = 300
    """Number of scenes, one task each."""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(
        default_factory=lambda: replace(PRUNING, steps=1300, rates=VLTP_RATES)
    )


def run(args: Baselines) -> dict:
    """Train and evaluate; ValueError for a bad model, data set, split or count."""
    from vltp_ros.data.scenes import TabletopDataset
    from vltp_ros.evaluation.machine import measured_on
    from vltp_ros.evaluation.table7 import table7
    from vltp_ros.processes import refuse_several
    from vltp_ros.runtime.session import Session
    from vltp_ros.simulation import TASKS
    from vltp_ros.training.batches import BatchSource
    from vltp_ros.training.provenance import identity

    refuse_several("vltp baselines")
    session = Session.load(args.model_directory, "cpu")
    source = BatchSource(TabletopDataset(args.data), TASKS, args.config)
    options = {"--model": identity(args.model_directory)}
    rows = table7(session, source, args.config, args.run, args.split, args.count, options=options)
    return {"model": session.name, **measured_on(session.device), "rows": rows}


def describe(answer: dict) -> str:
    """Return a table."""
    lines = ["method   saved   gIoU   cIoU   GMACs   VLTP's gain at no more GMACs"]
    for row in answer["rows"]:
        line = f"{row['method']:8} {row['rate']:5.2f} {row['giou']:6.3f} {row['ciou']:6.3f}"
        line += f" {row['gmacs']:7.2f}"
        if row.get("vltp_gain") is not None:
            line += f"   {row['vltp_gain']:+.3f} +- {row['vltp_gain_error']:.3f}"
        lines.append(line)
    return "\n".join(lines)

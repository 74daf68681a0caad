"""vltp reliability: whether answers are as sure as they say, and instances the objects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vltp_ros.cli.options import Command, ModelOptions, PrecisionOption, SplitOption
from vltp_ros.network.config import CalibrationConfig
from vltp_ros.runtime.settings import InferenceSettings

if TYPE_CHECKING:
    from vltp_ros.evaluation.answers import Answered

FEW = 50  # answers of a kind, from which nothing is fitted


@dataclass
class Reliability(ModelOptions, PrecisionOption, SplitOption, Command):
    """Ask all questions about tabletop scenes, and compare how sure and how right answers are."""

    count: int = 200
    """Number of scenes, drawn from the seeds 0, 1, 2, … of the split."""
    fit: bool = False
    """Fit the calibration of the scores to these answers and write it into the model's model.yaml;
    with --split val, as the other splits are for testing."""


def run(args: Reliability) -> dict:
    """Ask and count; ValueError for a bad model, split or count."""
    if args.count < 1:
        raise ValueError(f"--count is {args.count}; it must be at least 1")
    if args.fit and args.split != "val":
        raise ValueError(f"--fit is for --split val; it is {args.split!r}")
    from vltp_ros.checkpoints.calibration import write_calibration
    from vltp_ros.evaluation.answers import ask, instance_rows, reliability_rows
    from vltp_ros.evaluation.machine import measured_on

    session = args.load(InferenceSettings(precision=args.precision))
    if args.fit:  # to the scores as they come
        session.model.config = replace(session.model.config, calibration=CalibrationConfig())
    answers = list(ask(session, args.split, args.count))
    if args.fit:
        write_calibration(args.model_directory, _fitted(answers))
    return {
        "model": session.name,
        "precision": session.precision,
        **measured_on(session.device),
        "split": args.split,
        "scenes": args.count,
        "reliability": reliability_rows(answers),
        "instances": instance_rows(answers),
    }


def _fitted(answers: list[Answered]) -> CalibrationConfig:
    """Return the calibration of both kinds of answer; ValueError where one has too few."""
    from vltp_ros.evaluation.answers import fit_odds, scores_of

    odds = {}
    for name, (scores, right) in scores_of(answers).items():
        if name == "instance":  # the same as of whole masks
            continue
        if len(scores) < FEW:
            raise ValueError(f"{len(scores)} answers are {name!r}; {FEW} are needed: raise --count")
        odds[name] = fit_odds(scores, right)
    return CalibrationConfig(**odds)


def describe(answer: dict) -> str:
    """Return both tables."""
    lines = [f"{'answer':10} {'score':>7} {'right':>7} {'count':>9}"]
    for row in answer["reliability"]:
        lines += [
            f"{row['answer']:10} {b['score']:7.3f} {b['right']:7.3f} {b['count']:9}"
            for b in row["bins"]
        ]
        error = "none" if row["error"] is None else f"{row['error']:.3f}"
        lines.append(f"{row['answer']:10} expected calibration error {error}")
    lines.append(f"\n{'instances':10}  precision     recall    as many of several")
    lines += [
        f"{'with depth' if row['depth'] else 'by mask':10}"
        + "".join(
            f"{'-' if row[key] is None else format(row[key], '.3f'):>11}"
            for key in ("precision", "recall", "right", "several_right")
        )
        for row in answer["instances"]
    ]
    return "\n".join(lines)

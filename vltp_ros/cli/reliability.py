"""vltp reliability: whether answers are as sure as they say, and instances the objects."""

from __future__ import annotations

from dataclasses import dataclass

from vltp_ros.cli.options import Command, ModelOptions, PrecisionOption, SplitOption
from vltp_ros.evaluation.answers import ask, instance_rows, reliability_rows
from vltp_ros.evaluation.machine import measured_on
from vltp_ros.runtime.settings import InferenceSettings


@dataclass
class Reliability(ModelOptions, PrecisionOption, SplitOption, Command):
    """Ask all questions about tabletop scenes, and compare how sure and how right answers are."""

    count: int = 200
    """Number of scenes, drawn from the seeds 0, 1, 2, … of the split."""


def run(args: Reliability) -> dict:
    """Ask and count; ValueError for a bad model, split or count."""
    if args.count < 1:
        raise ValueError(f"--count is {args.count}; it must be at least 1")
    session = args.load(InferenceSettings(precision=args.precision))
    answers = list(ask(session, args.split, args.count))
    return {
        "model": session.name,
        "precision": session.precision,
        **measured_on(session.device),
        "split": args.split,
        "scenes": args.count,
        "reliability": reliability_rows(answers),
        "instances": instance_rows(answers),
    }


def describe(answer: dict) -> str:
    """Return both tables."""
    lines = [f"{'answer':10} {'score':>7} {'right':>7} {'questions':>9}"]
    for row in answer["reliability"]:
        lines += [
            f"{row['answer']:10} {b['score']:7.3f} {b['right']:7.3f} {b['count']:9}"
            for b in row["bins"]
        ]
        lines.append(f"{row['answer']:10} expected calibration error {row['error']:.3f}")
    lines.append(f"\n{'instances':10} precision  recall   as many  as many of several")
    lines += [
        f"{'with depth' if row['depth'] else 'by mask':10} {row['precision']:9.3f} "
        f"{row['recall']:7.3f} {row['right']:9.3f} {row['several_right']:9.3f}"
        for row in answer["instances"]
    ]
    return "\n".join(lines)

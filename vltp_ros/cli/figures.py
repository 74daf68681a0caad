"""vltp figures: which image tokens are kept, as in the paper's Figures 4 and 5."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vltp_ros.cli.options import Command, ModelOptions, PrecisionOption, SplitOption
from vltp_ros.evaluation.figures import draw_figures
from vltp_ros.runtime.settings import InferenceSettings


@dataclass
class Figures(ModelOptions, PrecisionOption, SplitOption, Command):
    """Draw which tokens of tabletop scenes a model keeps, and the truth: two PNGs per scene."""

    out: Path = Path("figures_out")
    """Directory to write to, made if missing."""
    count: int = 3
    """Number of scenes, one task each."""
    seed: int = 0
    """Seed of the first scene; the other scenes have the seeds after it."""


def run(args: Figures) -> dict:
    """Draw; ValueError for a bad model, split, count or seed."""
    session = args.load(InferenceSettings(precision=args.precision))
    paths = draw_figures(session, args.out, args.count, args.split, args.seed)
    return {"files": [str(path) for path in paths]}


def describe(answer: dict) -> str:
    """Return the files, one a line."""
    return "\n".join(answer["files"])

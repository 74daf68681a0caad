"""vltp figures: which image tokens are kept, as in the paper's Figures 4 and 5."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vltp_ros.cli.options import Command, ModelOptions, PrecisionOption, SplitOption
from vltp_ros.runtime.settings import InferenceSettings


@dataclass
class Figures(ModelOptions, PrecisionOption, SplitOption, Command):
    """Draw which tokens of tabletop scenes a model keeps, and the truth: two PNGs per scene.

    With --image and --task, of a picture of one's own: one PNG, without a truth.
    """

    out: Path = Path("figures_out")
    """Directory to write to, made if missing."""
    image: Path | None = None
    """Picture to draw instead of scenes."""
    task: str = ""
    """What is to be done with what it shows."""
    rates: tuple[float, ...] | None = None
    """Shares of the tokens that are pruned in a row each, of one's own picture, where 0 is dense;
    0, 0.5, 0.7 and 0.8 if not given."""
    count: int = 3
    """Number of scenes, one task each."""
    seed: int = 0
    """Seed of the first scene; the other scenes have the seeds after it."""


def run(args: Figures) -> dict:
    """Draw; ValueError for a bad model, picture, rate, split, count or seed."""
    from vltp_ros.evaluation.figures import RATES, draw_figures, draw_picture
    from vltp_ros.imaging.pictures import read_picture, write_png

    if (args.image is None) != (not args.task):
        given, missing = ("--task", "--image") if args.task else ("--image", "--task")
        raise ValueError(f"{given} is given without {missing}; they belong together")
    if args.image is None and args.rates is not None:
        raise ValueError("--rates has an effect only with --image and --task")
    picture = None if args.image is None else read_picture(args.image)
    session = args.load(InferenceSettings(precision=args.precision))
    if picture is None or args.image is None:
        paths = draw_figures(session, args.out, args.count, args.split, args.seed)
    else:
        paths = [args.out / f"{args.image.stem}_tokens.png"]
        write_png(paths[0], draw_picture(session, picture, args.task, args.rates or RATES))
    return {"files": [str(path) for path in paths]}


def describe(answer: dict) -> str:
    """Return the files, one a line."""
    return "\n".join(answer["files"])

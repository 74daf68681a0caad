"""vltp figures: which image tokens are kept, and answers, as in the paper's Figures 4, 5 and 6."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vltp_ros.cli.options import Command, ModelOptions, PrecisionOption, SplitOption
from vltp_ros.runtime.settings import InferenceSettings


@dataclass
class Figures(ModelOptions, PrecisionOption, SplitOption, Command):
    """Draw which tokens of scenes or public data a model keeps, and its answers beside the truth.

    Two PNGs for each, and one for all answers. With --image and --task: which tokens of a picture
    of one's own are kept, one PNG without a truth.
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
    dataset: tuple[str, ...] = ()
    """Public data sets to draw instead of scenes, e.g. rio-common coco-tasks-test."""
    data: Path | None = None
    """Folder of the public data sets; docs/reproduce.md says what belongs there."""
    count: int = 3
    """Number of scenes, one task each, or of expressions of each data set; something serves all."""
    seed: int = 0
    """Seed of the first scene; the other scenes have the seeds after it."""


def run(args: Figures) -> dict:
    """Draw; ValueError for a bad model, picture, rate, data set, split, count or seed."""
    _check(args)
    paths = _draw_samples(args) if args.image is None else [_draw_picture(args, args.image)]
    return {"files": [str(path) for path in paths]}


def _check(args: Figures) -> None:
    """Raise ValueError naming an option that has no effect, or lacks another."""
    for names, both in (
        (("--image", "--task"), (args.image, args.task)),
        (("--dataset", "--data"), (args.dataset, args.data)),
    ):
        if bool(both[0]) != bool(both[1]):
            given, missing = names if both[0] else names[::-1]
            raise ValueError(f"{given} is given without {missing}; they belong together")
    if args.image is None and args.rates is not None:
        raise ValueError("--rates has an effect only with --image and --task")
    if args.image is not None and args.dataset:
        raise ValueError(f"--dataset is {' '.join(args.dataset)}; it has no effect with --image")


def _draw_picture(args: Figures, path: Path) -> Path:
    """Draw a picture of one's own; return the file."""
    from vltp_ros.evaluation.figures import RATES, draw_picture
    from vltp_ros.imaging.pictures import read_picture, write_png

    picture = read_picture(path)
    session = args.load(InferenceSettings(precision=args.precision))
    out = args.out / f"{path.stem}_tokens.png"
    write_png(out, draw_picture(session, picture, args.task, args.rates or RATES))
    return out


def _draw_samples(args: Figures) -> list[Path]:
    """Draw scenes, or what a public data set asks; return the files."""
    from vltp_ros.data.registry import load_dataset
    from vltp_ros.evaluation.figures import draw_figures, served_entries, served_scenes

    if args.data is not None:
        datasets = [load_dataset(name, args.data) for name in args.dataset]
        samples = served_entries(datasets, args.count)
    else:
        samples = served_scenes(args.count, args.split, args.seed)
    return draw_figures(args.load(InferenceSettings(precision=args.precision)), args.out, samples)


def describe(answer: dict) -> str:
    """Return the files, one a line."""
    return "\n".join(answer["files"])

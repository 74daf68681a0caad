"""vltp plot: losses of trainings, and results of other commands, as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from vltp_ros.cli.options import Command
from vltp_ros.paths import pip_command


@dataclass
class Plot(Command):
    """Draw losses and gIoU of training runs, and times or gIoU out of result files, as one PNG."""

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Directories that were --run of a training, and files with the JSON of vltp benchmark, check,
    evaluate, baselines, rows or demo."""
    out: Path
    """PNG to write; its directory is made if missing."""


def run(args: Plot) -> dict:
    """Draw; ValueError for a source with nothing to draw, or another kind of picture."""
    from vltp_ros.evaluation.plots import draw_plots

    if args.out.suffix.lower() != ".png":
        raise ValueError(f"--out is {args.out}; it must end in .png")
    try:
        panels = draw_plots(args.sources, args.out)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"plots need matplotlib: {pip_command('plot')}") from error
    return {"out": str(args.out), "panels": panels}


def describe(answer: dict) -> str:
    """Return the file."""
    return answer["out"]

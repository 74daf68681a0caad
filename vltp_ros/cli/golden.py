"""vltp golden: a golden answer for a model, by which it is checked whenever the node loads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from vltp_ros.cli.options import Command, DeviceOption


@dataclass
class RecordGolden(DeviceOption, Command):
    """Record a model's answer, with which the node compares its answers when it loads the model.

    Look at the answer first (`vltp segment`): it has to be right, and it has to have found
    something.
    """

    model: tyro.conf.Positional[Path]
    """Model directory."""
    image: Path
    """Picture file."""
    task: str
    """Sentence about it."""


def run(args: RecordGolden) -> dict:
    """Record; ValueError where nothing was found, as nothing is what a broken model finds."""
    from vltp_ros.checkpoints.golden import Golden, write_golden
    from vltp_ros.imaging.pictures import read_picture
    from vltp_ros.runtime.session import Session

    session = Session.load(args.model, args.device)
    image = read_picture(args.image)
    (answer,) = session.segment(image, [args.task])
    session.close()
    if not answer.found:
        raise ValueError(f"{args.image}: the model finds nothing for {args.task!r}; give another")
    write_golden(args.model, Golden(answer.task, image, answer.mask))
    return {"task": answer.task, "area": answer.area, "score": answer.score}


def describe(answer: dict) -> str:
    """Return the answer in words."""
    return f"{answer['task']}: {answer['area']} px, score {answer['score']:.2f}"

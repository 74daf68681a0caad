"""vltp segment: what in a picture, or in the images of a bag, serves a task."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from vltp_ros.cli.options import Command, ModelOptions
from vltp_ros.imaging.bags import segment_bag
from vltp_ros.imaging.images import to_grey
from vltp_ros.imaging.instances import Instance, separate
from vltp_ros.imaging.overlay import draw_overlay
from vltp_ros.imaging.pictures import read_picture, write_png
from vltp_ros.imaging.tracking import Tracker
from vltp_ros.runtime.settings import InferenceSettings


@dataclass
class Segment(ModelOptions, Command):
    """Segment a picture, to mask and overlay PNGs for each task, or a bag, to another bag."""

    image: tyro.conf.Positional[Path]
    """Picture in any common format, or a recorded ROS bag (rosbag2's directory)."""
    task: Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
    """What is to be done, e.g. "something to drive a nail"; --task may be given more than once."""
    out: Path = Path()
    """Directory to write to, made if missing; for a bag, the new bag, which must not exist yet."""
    image_topic: str = ""
    """Topic of a bag's images, raw or compressed."""
    settings: Annotated[InferenceSettings, tyro.conf.arg(name="")] = field(
        default_factory=InferenceSettings
    )


def run(args: Segment) -> dict:
    """Segment and write the files; ValueError for a bad picture, bag, task, model or setting."""
    if not args.task:
        raise ValueError("--task is missing; give at least one")
    if args.image_topic:
        session = args.load(args.settings)
        return segment_bag(args.image, args.image_topic, args.out, session, args.task)
    if args.image.is_dir():
        raise ValueError(f"{args.image} is a directory; for a bag, give --image-topic and --out")
    return _segment_picture(args)


def _segment_picture(args: Segment) -> dict:
    """Segment a picture and write mask and overlay of each task."""
    image, session = read_picture(args.image), args.load(args.settings)
    answers = session.segment(image, args.task)
    numbered = Tracker().update(dict(enumerate(map(separate, answers))), seconds=0.0)
    results = []
    for number, result in enumerate(answers):
        instances = numbered[number]
        stem = args.image.stem if len(args.task) == 1 else f"{args.image.stem}_{number}"
        mask_path = args.out / f"{stem}_mask.png"
        overlay_path = args.out / f"{stem}_overlay.png"
        write_png(mask_path, to_grey(result.mask))
        write_png(overlay_path, draw_overlay(image, [(result, instances)]))
        results.append(
            {
                "task": result.task,
                "found": result.found,
                "score": round(result.score, 4),
                "mask_path": str(mask_path),
                "overlay_path": str(overlay_path),
                "area": result.area,
                "instances": [_described(instance) for instance in instances],
                "times_ms": {name: round(ms, 2) for name, ms in result.times_ms.items()},
            }
        )
    return {"results": results}


def _described(instance: Instance) -> dict:
    """Return what the JSON says of an instance: box and centroid in pixels of the picture."""
    return {
        "id": instance.track,
        "box": instance.box,
        "centroid": [round(value, 1) for value in instance.centroid],
        "area": instance.area,
        "score": round(instance.score, 4),
    }


def describe(answer: dict) -> str:
    """Return one line per task, or one about the bag."""
    if "bag" in answer:
        broken_off = f"; the bag breaks off: {answer['broken_off']}" * bool(answer["broken_off"])
        counts = f"{answer['answered']} of {answer['images']} images answered"
        return f"{counts}: {answer['bag']}{broken_off}"
    return "\n".join(
        f"{r['task']!r}: {str(r['area']) + ' px' if r['found'] else 'nothing'}, "
        f"score {r['score']:.2f}, {r['overlay_path']}"
        for r in answer["results"]
    )

"""vltp segment: what in a picture, or in the images of a bag, serves a task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from vltp_ros.imaging.bags import segment_bag
from vltp_ros.imaging.overlay import draw_overlay
from vltp_ros.imaging.pictures import read_picture, write_png
from vltp_ros.paths import default_model
from vltp_ros.runtime.session import Session


@dataclass
class Segment:
    """Write mask and overlay PNGs for each task; for a bag, another bag."""

    image: tyro.conf.Positional[Path]
    """Picture in any common format, or a recorded ROS bag (rosbag2's directory)."""
    task: Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
    """What is to be done, e.g. "something to drive a nail"; may be given again."""
    model: Path | None = None
    """Model directory; the tabletop model if not given."""
    out: Path = Path()
    """Directory to write to, made if missing; of a bag: the new bag, which must not exist."""
    image_topic: str = ""
    """The bag's topic of images, raw or compressed."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    rates: tuple[float, ...] = ()
    """Share of image tokens frozen at each stage, below 1; the model's own if not given."""
    prune_after: tuple[int, ...] | None = None
    """1-based layers after which tokens are selected; the model's own if not given."""
    selector: Literal["prune_decoder", "attention"] | None = None
    """What ranks the image tokens; the model's own if not given."""
    csp: Literal["off", "65", "70"] = "off"
    """Which image tokens LLaVA's layers see (LVLM_CSP)."""
    quantization: Literal["float32", "bfloat16", "int8", "nf4"] | None = None
    """LLaVA's weights in memory; the model's own if not given."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What SAM computes in; auto: bfloat16 on a GPU that has it, else float32."""
    threshold: float | None = None
    """Mask where the probability exceeds this; the model's own if not given."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(args: Segment) -> dict:
    """Segment and write the files; ValueError for a bad picture, bag, task, model or setting."""
    if not args.task:
        raise ValueError("--task is missing; give at least one")
    if args.image_topic:
        return segment_bag(args.image, args.image_topic, args.out, _load(args), args.task)
    if args.image.is_dir():
        raise ValueError(f"{args.image} is a directory; for a bag, give --image-topic and --out")
    return _segment_picture(args)


def _load(args: Segment) -> Session:
    return Session.load(
        args.model or default_model(),
        args.device,
        rates=args.rates,
        prune_after=args.prune_after,
        selector=args.selector,
        csp=args.csp,
        quantization=args.quantization,
        precision=args.precision,
        threshold=args.threshold,
    )


def _segment_picture(args: Segment) -> dict:
    image, session = read_picture(args.image), _load(args)
    results = []
    for number, result in enumerate(session.segment(image, args.task)):
        stem = args.image.stem if len(args.task) == 1 else f"{args.image.stem}_{number}"
        mask_path = args.out / f"{stem}_mask.png"
        overlay_path = args.out / f"{stem}_overlay.png"
        write_png(mask_path, result.mask.astype(np.uint8) * 255)
        write_png(overlay_path, draw_overlay(image, result.mask))
        results.append(
            {
                "task": result.task,
                "score": round(result.score, 4),
                "mask_path": str(mask_path),
                "overlay_path": str(overlay_path),
                "area": result.area,
                "times_ms": {name: round(ms, 2) for name, ms in result.times_ms.items()},
            }
        )
    return {"results": results}


def describe(answer: dict) -> str:
    """One line per task, or about the bag."""
    if "bag" in answer:
        return f"{answer['answered']} of {answer['images']} images answered: {answer['bag']}"
    return "\n".join(
        f"{r['task']!r}: {r['area']} px, score {r['score']:.2f}, {r['overlay_path']}"
        for r in answer["results"]
    )

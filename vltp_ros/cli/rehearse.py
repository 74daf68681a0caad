"""vltp rehearse: what a training and an evaluation at true size take, without any weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vltp_ros.cli.benchmark import ThreadsOption
from vltp_ros.cli.options import Command, DeviceOption
from vltp_ros.network.config import TrainingQuantization


@dataclass
class Rehearse(ThreadsOption, DeviceOption, Command):
    """Train each stage a little and evaluate one sample, with random weights of true size.

    Tells time and memory of each part before anything is downloaded. Nothing is kept; the answers
    mean nothing.
    """

    size: Literal["tabletop", "1b", "7b", "13b"] = "7b"
    """Size of LLaVA; 7b and 13b are LISA's."""
    sam: Literal["tabletop", "vit_b", "vit_l", "vit_h"] = "vit_h"
    """Size of SAM."""
    quantization: TrainingQuantization = "nf4"
    """Quantization of the language model's weights."""
    batch: int = 1
    """Images in a training step."""
    micro_batch: int | None = None
    """Images computed at once; the batch if not given. Trainings on public data compute one."""
    steps: int = 1
    """Steps of each stage. From 3 on, the time of one that is neither first nor last is told."""


def run(args: Rehearse) -> dict:
    """Rehearse; ValueError for a bad device, batch or steps, or too little memory."""
    from vltp_ros.evaluation.rehearsal import rehearse
    from vltp_ros.runtime.device import resolve_device

    args.set_threads()
    return rehearse(
        args.sam,
        args.size,
        args.quantization,
        resolve_device(args.device),
        batch=args.batch,
        micro_batch=args.micro_batch,
        steps=args.steps,
    )


def describe(answer: dict) -> str:
    """Return a table of the parts."""
    lines = [
        f"{answer['hardware']}, torch {answer['versions']['torch']}",
        f"{'':44} {'seconds':>8} {'a step':>8} {'peak GiB':>9} {'learning':>12} "
        f"{'checkpoint MiB':>15}",
    ]
    for row in answer["rows"]:
        learning = f"{row['learning']:12,}" if "learning" in row else f"{'':12}"
        size = f"{row['checkpoint_mib']:15,}" if "checkpoint_mib" in row else ""
        step = f"{row['step_seconds']:8.2f}" if "step_seconds" in row else f"{'':8}"
        times = f"{row['seconds']:8.1f} {step}"
        line = f"{row['name']:44} {times} {_gib(row['peak_mib'])} {learning} {size}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def _gib(mib: float | None) -> str:
    """Return memory in GiB for the table."""
    return f"{'-':>9}" if mib is None else f"{mib / 1024:9.1f}"

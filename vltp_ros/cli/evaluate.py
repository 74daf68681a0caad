"""vltp evaluate: accuracy and cost on tabletop scenes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vltp_ros.evaluation.machine import measured_on
from vltp_ros.evaluation.tabletop import DEFAULT_SETTINGS, Setting, evaluate
from vltp_ros.paths import default_model
from vltp_ros.runtime.device import dtype_name
from vltp_ros.runtime.session import Session


@dataclass
class Evaluate:
    """gIoU, cIoU and GMACs for the dense model, several pruning rates and random pruning."""

    model: Path | None = None
    """Model directory; the tabletop model if not given."""
    split: str = "test"
    """Of the scenes: train, val, test or uncommon."""
    count: int = 300
    """Number of scenes, one task each; they follow from the split and the seeds 0, 1, 2, …"""
    selector: tuple[
        Literal["prune_decoder", "adaptive", "random", "oracle", "attention", "keep_all"], ...
    ] = ()
    """What chooses the image tokens, one or more; the default table if not given."""
    rate: float = 0.5
    """Share of tokens frozen at each stage; with --selector only, not for adaptive or keep_all."""
    csp: tuple[Literal["off", "65", "70"], ...] = ("off",)
    """Image tokens of LLaVA's layers (LVLM_CSP), one or more presets."""
    quantization: Literal["float32", "bfloat16", "int8", "nf4"] | None = None
    """LLaVA's weights in memory; the model's own if not given."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What SAM computes in; auto: bfloat16 on a GPU that has it, else float32."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(args: Evaluate) -> dict:
    """Evaluate; ValueError for a bad model, split, count, selector or rate."""
    session = Session.load(
        args.model or default_model(),
        args.device,
        quantization=args.quantization,
        precision=args.precision,
    )
    settings = DEFAULT_SETTINGS
    if args.selector:
        settings = [
            Setting(name, 0.0 if name in ("adaptive", "keep_all") else args.rate)
            for name in args.selector
        ]
    settings = [replace(setting, csp=csp) for setting in settings for csp in args.csp]
    rows = evaluate(session, args.split, args.count, settings)
    return {
        "model": session.name,
        "quantization": session.model.config.quantization,
        "precision": dtype_name(session.precision),
        **measured_on(session.device),
        "rows": rows,
    }


def describe(answer: dict) -> str:
    """A table."""
    lines = ["selector        rate  csp   gIoU   cIoU   GMACs"]
    lines += [
        f"{r['selector']:14} {r['rate']:5.2f} {r['csp']:>4} "
        f"{r['giou']:6.3f} {r['ciou']:6.3f} {r['gmacs']:7.2f}"
        for r in answer["rows"]
    ]
    return "\n".join(lines)

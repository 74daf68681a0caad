"""vltp evaluate: accuracy and cost on tabletop scenes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from vltp_ros.cli.options import Command, ModelOptions, PrecisionOption, SplitOption
from vltp_ros.evaluation.machine import measured_on
from vltp_ros.evaluation.tabletop import DEFAULT_SETTINGS, Setting, evaluate
from vltp_ros.network.csp import CspName
from vltp_ros.runtime.settings import InferenceSettings


@dataclass
class Evaluate(ModelOptions, PrecisionOption, SplitOption, Command):
    """Measure gIoU, cIoU and GMACs of a model, dense and pruned, and pruned at random."""

    count: int = 300
    """Number of scenes, one task each, drawn from the seeds 0, 1, 2, … of the split."""
    selector: tuple[
        Literal["prune_decoder", "adaptive", "random", "oracle", "attention", "keep_all"], ...
    ] = ()
    """What chooses the image tokens, one or more; the default table if not given."""
    rate: float = 0.5
    """Share of tokens frozen at each stage; with --selector only, not for adaptive or keep_all."""
    csp: tuple[CspName, ...] = ("off",)
    """Presets of LVLM_CSP, one or more: which image tokens LLaVA's layers see."""


def run(args: Evaluate) -> dict:
    """Evaluate; ValueError for a bad model, split, count, selector or rate."""
    session = args.load(InferenceSettings(precision=args.precision))
    chosen = [
        Setting(name, 0.0 if name in ("adaptive", "keep_all") else args.rate)
        for name in args.selector
    ]
    settings = [replace(row, csp=csp) for row in chosen or DEFAULT_SETTINGS for csp in args.csp]
    rows = evaluate(session, args.split, args.count, settings)
    return {
        "model": session.name,
        "quantization": session.model.config.quantization,
        "precision": session.precision,
        **measured_on(session.device),
        "rows": rows,
    }


def describe(answer: dict) -> str:
    """Return a table."""
    lines = ["selector        rate  csp   gIoU   cIoU   GMACs"]
    lines += [
        f"{r['selector']:14} {r['rate']:5.2f} {r['csp']:>4} "
        f"{r['giou']:6.3f} {r['ciou']:6.3f} {r['gmacs']:7.2f}"
        for r in answer["rows"]
    ]
    return "\n".join(lines)

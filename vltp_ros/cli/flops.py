"""vltp flops: what the encoder costs, counted on the real modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vltp_ros.config import model_config
from vltp_ros.evaluation.flops import model_gmacs


@dataclass
class Flops:
    """Giga multiply-accumulates of one image and one task."""

    sam: Literal["tabletop", "vit_b", "vit_l", "vit_h"] = "vit_h"
    """Size of the image encoder."""
    prune_after: tuple[int, ...] | None = None
    """1-based global-attention layers; by default at half and three quarters of the depth."""
    rates: tuple[float, ...] = (0.5,)
    """Share of tokens frozen at each stage; one value serves all."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(args: Flops) -> dict:
    """Count; ValueError for stages or rates that are not allowed."""
    config = model_config(args.sam)
    stages = config.pruning.prune_after if args.prune_after is None else args.prune_after
    rates = args.rates * len(stages) if len(args.rates) == 1 else args.rates
    return model_gmacs(config, stages, rates)


def describe(answer: dict) -> str:
    """The totals, then one line per stage."""
    lines = [
        f"{answer['gmacs']:.1f} GMACs, dense {answer['dense_gmacs']:.1f}, "
        f"prune decoder {answer['prune_decoder_gmacs']:.2f} a call, "
        f"mask decoder {answer['mask_decoder_gmacs']:.2f}"
    ]
    lines += [
        f"  from layer {s['first_layer']}: {s['tokens']} tokens, {s['gmacs']:.1f} GMACs"
        for s in answer["stages"]
    ]
    return "\n".join(lines)

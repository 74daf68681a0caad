"""vltp flops: what the encoder costs, counted on the real modules, and LLaVA's image tokens."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from vltp_ros.cli.options import Command
from vltp_ros.network.csp import CspName


@dataclass
class Flops(Command):
    """Count the giga multiply-accumulates of one image and one task."""

    sam: Literal["tabletop", "vit_b", "vit_l", "vit_h"] | None = None
    """Size of the image encoder; vit_h if not given."""
    prune_after: tuple[int, ...] | None = None
    """1-based global-attention layers after which tokens are selected; at half and three quarters
    of the depth if not given."""
    rates: tuple[float, ...] | None = None
    """Share of tokens frozen at each stage, one value for all stages or one for each; 0.5 if not
    given."""
    llava: Literal["tabletop", "1b", "7b", "13b"] | None = None
    """Size of LLaVA, to count instead what its language model spends on image tokens."""
    csp: CspName | None = None
    """Preset of LVLM_CSP: which image tokens LLaVA's layers see, 65 if not given; with --llava
    only."""


def run(args: Flops) -> dict:
    """Count; ValueError for stages or rates that are not allowed."""
    from vltp_ros.evaluation.flops import image_token_cost, model_gmacs
    from vltp_ros.network.config import model_config

    _refuse_what_has_no_effect(args)
    if args.llava is not None:
        csp = args.csp or "65"
        return {"llava": args.llava, "csp": csp, **image_token_cost(args.llava, csp)}
    config = model_config(args.sam or "vit_h")
    stages = config.pruning.prune_after if args.prune_after is None else args.prune_after
    rates = (0.5,) if args.rates is None else args.rates
    return model_gmacs(config, stages, rates * len(stages) if len(rates) == 1 else rates)


def _refuse_what_has_no_effect(args: Flops) -> None:
    """Raise ValueError naming an option that would change nothing."""
    if args.llava is None and args.csp is not None:
        raise ValueError(f"--csp is {args.csp}, which needs --llava")
    if args.llava is not None:
        for option in ("sam", "prune_after", "rates"):
            if getattr(args, option) is not None:
                name = option.replace("_", "-")
                raise ValueError(
                    f"--{name} is {getattr(args, option)}; it has no effect with --llava"
                )


def describe(answer: dict) -> str:
    """Return the totals, then one line per stage, or per span of LLaVA's layers."""
    if "llava" in answer:
        return _describe_llava(answer)
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


def _describe_llava(answer: dict) -> str:
    """Return the totals, then one line per span of layers with equally many tokens."""
    lines = [
        f"LLaVA {answer['llava']}, csp {answer['csp']}: "
        f"{answer['image_token_gmacs']:.1f} GMACs on image tokens, "
        f"dense {answer['dense_image_token_gmacs']:.1f} ({-answer['image_token_reduction']:+.1%}); "
        f"{answer['average_tokens']:.1f} of them in a layer on average"
    ]
    first = 1  # as with SAM's layers
    for tokens, layers in groupby(answer["tokens_per_layer"]):
        count = len(list(layers))
        lines.append(f"  layers {first} to {first + count - 1}: {tokens} tokens")
        first += count
    return "\n".join(lines)

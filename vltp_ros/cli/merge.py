"""vltp merge: a model's adapters added to the weights below."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from vltp_ros.cli.options import Command
from vltp_ros.cli.output import ForceOption


@dataclass
class Merge(ForceOption, Command):
    """Add a model's adapters to LLaVA's own weights.

    The sum has 16 or 32 bits, even if the adapters learnt on 4-bit weights: masks then differ a
    little from those of the model in 4 bits.
    """

    model: tyro.conf.Positional[Path]
    """Model directory that `vltp finetune` wrote."""
    out: Path
    """Model directory to write."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """LLaVA's weights, in the files and in memory."""


def run(args: Merge) -> dict:
    """Merge; ValueError for a model without adapters or an --out that may not be written to."""
    import torch

    from vltp_ros.checkpoints.adapters import ADAPTER_FILE, merge_adapter
    from vltp_ros.checkpoints.model_directory import load_model, read_description, save_model
    from vltp_ros.checkpoints.output import check_output
    from vltp_ros.training.provenance import provenance

    if ADAPTER_FILE not in read_description(args.model)[1]:
        raise ValueError(f"{args.model} has no adapter; there is nothing to merge")
    check_output(args.out, args.force)
    model = load_model(args.model, quantization=args.dtype)
    merge_adapter(model.reasoner.llava)
    line = f"vltp merge --dtype {args.dtype}"
    save_model(model, args.out, provenance(args.model, line), dtype=getattr(torch, args.dtype))
    return {"out": str(args.out), "name": model.config.name}


def describe(answer: dict) -> str:
    """Return the model's name and where it lies."""
    return f"{answer['name']} in {answer['out']}"

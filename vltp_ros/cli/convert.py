"""vltp convert: public checkpoints to model directories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from vltp_ros.network.sam_checkpoint import convert_sam


@dataclass
class Convert:
    """Make a model directory of a checkpoint on this disk; nothing is downloaded."""

    source: tyro.conf.Positional[Literal["sam"]]
    """sam: one of Meta's SAM checkpoints, which becomes a directory with SAM alone."""
    file: tyro.conf.Positional[Path]
    """The checkpoint; Meta's files are recognised by their SHA-256."""
    out: Path
    """Model directory to write."""
    sam: Literal["vit_b", "vit_l", "vit_h"] | None = None
    """Size of a checkpoint of your own in the same format; needs --sha256."""
    sha256: str | None = None
    """Its checksum, 64 hexadecimal digits; needs --sam."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(args: Convert) -> dict:
    """Convert; ValueError for a file that is missing, unknown, truncated, altered or unfit."""
    config = convert_sam(args.file, args.out, args.sam, args.sha256)
    return {"out": str(args.out), "name": config.name}


def describe(answer: dict) -> str:
    """What was made, and where."""
    return f"{answer['name']} in {answer['out']}"

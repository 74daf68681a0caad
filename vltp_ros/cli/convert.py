"""vltp convert: public checkpoints to model directories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vltp_ros.checkpoints.lisa import convert_lisa
from vltp_ros.checkpoints.llava import convert_llava
from vltp_ros.checkpoints.sam import convert_sam
from vltp_ros.cli.options import Command
from vltp_ros.network.config import ModelConfig


@dataclass
class Sam:
    """One of Meta's SAM checkpoints, which becomes a directory with SAM alone."""

    file: tyro.conf.Positional[Path]
    """The checkpoint; Meta's files are recognised by their SHA-256."""
    out: Path
    """Model directory to write."""
    sam: Literal["vit_b", "vit_l", "vit_h"] | None = None
    """Size of a checkpoint of your own in the same format; needs --sha256."""
    sha256: str | None = None
    """Its checksum, 64 hexadecimal digits; needs --sam."""

    def convert(self) -> ModelConfig:
        """Write the directory."""
        return convert_sam(self.file, self.out, self.sam, self.sha256)


@dataclass
class Lisa:
    """A LISA checkpoint (LLaVA, [SEG] and SAM ViT-H): a whole model without a prune decoder."""

    directory: tyro.conf.Positional[Path]
    """The checkpoint, e.g. of xinlai/LISA-7B-v1."""
    clip: Path
    """Directory of its vision tower, openai/clip-vit-large-patch14."""
    out: Path
    """Model directory to write; it is OUT.partial until it is whole, and another run goes on."""

    def convert(self) -> ModelConfig:
        """Write the directory."""
        return convert_lisa(self.directory, self.clip, self.out)


@dataclass
class Llava:
    """LLaVA-1.5 and SAM: a model to train from, whose <SEG> means nothing yet."""

    directory: tyro.conf.Positional[Path]
    """LLaVA as transformers has it, e.g. of llava-hf/llava-1.5-7b-hf."""
    sam: Path
    """Directory that `vltp convert sam` wrote."""
    out: Path
    """Model directory to write; it is OUT.partial until it is whole, and another run goes on."""

    def convert(self) -> ModelConfig:
        """Write the directory."""
        return convert_llava(self.directory, self.sam, self.out)


@tyro.conf.configure(tyro.conf.CascadeSubcommandArgs, tyro.conf.OmitSubcommandPrefixes)
@dataclass
class Convert(Command):
    """Make a model directory of files on this disk; nothing is downloaded."""

    source: (
        Annotated[Sam, tyro.conf.subcommand("sam")]
        | Annotated[Lisa, tyro.conf.subcommand("lisa")]
        | Annotated[Llava, tyro.conf.subcommand("llava")]
    )


def run(args: Convert) -> dict:
    """Convert; ValueError for a file that is missing, unknown, truncated, altered or unfit."""
    return {"out": str(args.source.out), "name": args.source.convert().name}


def describe(answer: dict) -> str:
    """What was made, and where."""
    return f"{answer['name']} in {answer['out']}"

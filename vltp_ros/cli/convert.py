"""vltp convert: public checkpoints to model directories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from vltp_ros.cli.options import Command
from vltp_ros.cli.output import ForceOption

if TYPE_CHECKING:
    from vltp_ros.network.config import ModelConfig


@dataclass
class Sam:
    """Convert one of Meta's SAM checkpoints to a directory with SAM alone."""

    file: tyro.conf.Positional[Path]
    """SAM checkpoint; Meta's files are recognised by their SHA-256."""
    out: Path
    """Model directory to write."""
    sam: Literal["vit_b", "vit_l", "vit_h"] | None = None
    """Size of a checkpoint of your own in the same format; needs --sha256."""
    sha256: str | None = None
    """Checksum of a checkpoint of your own, 64 hexadecimal digits; needs --sam."""

    def convert(self, overwrite: bool) -> ModelConfig:
        """Write the model directory, in place of a model where one may be overwritten."""
        from vltp_ros.checkpoints.sam import convert_sam

        return convert_sam(self.file, self.out, self.sam, self.sha256, overwrite)


@dataclass
class Lisa:
    """Convert a LISA checkpoint (LLaVA, [SEG], SAM ViT-H) to a model without a prune decoder."""

    directory: tyro.conf.Positional[Path]
    """Directory of a LISA checkpoint, e.g. of xinlai/LISA-7B-v1; 7B and 13B, v0 and v1, explanatory
    or not, are told apart by their files."""
    clip: Path
    """Directory of LISA's vision tower, openai/clip-vit-large-patch14."""
    out: Path
    """Model directory to write; a run that was stopped goes on from OUT.partial."""

    def convert(self, overwrite: bool) -> ModelConfig:
        """Write the model directory, in place of a model where one may be overwritten."""
        from vltp_ros.checkpoints.lisa import convert_lisa

        return convert_lisa(self.directory, self.clip, self.out, overwrite=overwrite)


@dataclass
class Llava:
    """Join LLaVA-1.5 and SAM to a model to train from, whose <SEG> means nothing yet."""

    directory: tyro.conf.Positional[Path]
    """Directory of LLaVA in transformers' format, e.g. of llava-hf/llava-1.5-7b-hf."""
    sam: Path
    """Directory that `vltp convert sam` wrote."""
    out: Path
    """Model directory to write; a run that was stopped goes on from OUT.partial."""

    def convert(self, overwrite: bool) -> ModelConfig:
        """Write the model directory, in place of a model where one may be overwritten."""
        from vltp_ros.checkpoints.llava import convert_llava

        return convert_llava(self.directory, self.sam, self.out, overwrite)


@tyro.conf.configure(tyro.conf.CascadeSubcommandArgs, tyro.conf.OmitSubcommandPrefixes)
@dataclass
class Convert(ForceOption, Command):
    """Make a model directory of files on this disk; nothing is downloaded."""

    source: (
        Annotated[Sam, tyro.conf.subcommand("sam")]
        | Annotated[Lisa, tyro.conf.subcommand("lisa")]
        | Annotated[Llava, tyro.conf.subcommand("llava")]
    )


def run(args: Convert) -> dict:
    """Convert; ValueError for a file that is missing, unknown, truncated, altered or unfit."""
    return {"out": str(args.source.out), "name": args.source.convert(args.force).name}


def describe(answer: dict) -> str:
    """Return the model's name and where it lies."""
    return f"{answer['name']} in {answer['out']}"

"""vltp benchmark: our code and the official one in the same run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import tyro

from vltp_ros.evaluation.encoder_benchmark import benchmark_encoder
from vltp_ros.evaluation.reasoner_benchmark import benchmark_reasoner
from vltp_ros.runtime.session import PRECISIONS, resolve_device


@dataclass
class Encoder:
    """SAM's image encoder at several pruning rates, prune decoder included; random weights."""

    sam: Literal["tabletop", "vit_b", "vit_l", "vit_h"] = "vit_b"
    """Size of the encoder."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; on a GPU eager and as captured graphs."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Computed in; the shorter ones under autocast."""
    rates: tuple[float, ...] = (0.0, 0.5, 0.8)
    """Share of tokens frozen at each stage; 0 prunes nothing."""
    baseline: bool = False
    """Time segment_anything's own encoder too, in turns with ours."""
    repeats: int = 7
    """Measurements of each."""

    def measure(self) -> dict:
        """Run it."""
        return benchmark_encoder(
            self.sam,
            resolve_device(self.device),
            PRECISIONS[self.dtype],
            self.rates,
            baseline=self.baseline,
            repeats=self.repeats,
        )


@dataclass
class Reasoner:
    """LLaVA, from image and tasks to <SEG>; random weights of the true shapes."""

    size: Literal["tabletop", "1b", "7b"] = "7b"
    """Of the language model; 7b is LISA-7B's."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; on a GPU eager and as a captured graph."""
    quantization: Literal["float32", "bfloat16", "int8", "nf4"] = "nf4"
    """Of the language model's weights."""
    csp: tuple[Literal["off", "65", "70"], ...] = ("off", "65", "70")
    """Which image tokens its layers see (LVLM_CSP)."""
    tasks: tuple[int, ...] = (1, 4)
    """Tasks on the one image."""
    baseline: bool = False
    """Time transformers' own forward too, in turns with ours."""
    repeats: int = 5
    """Measurements of each."""

    def measure(self) -> dict:
        """Run it."""
        return benchmark_reasoner(
            self.size,
            resolve_device(self.device),
            self.quantization,
            self.csp,
            self.tasks,
            baseline=self.baseline,
            repeats=self.repeats,
        )


@tyro.conf.configure(tyro.conf.CascadeSubcommandArgs, tyro.conf.OmitSubcommandPrefixes)
@dataclass
class Benchmark:
    """Time and memory of one part, in turns with the official code."""

    part: (
        Annotated[Encoder, tyro.conf.subcommand("encoder")]
        | Annotated[Reasoner, tyro.conf.subcommand("reasoner")]
    )
    threads: int = 0
    """CPU threads; 0 leaves PyTorch's default."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(args: Benchmark) -> dict:
    """Measure; ValueError for bad rates, device, tasks or repeats."""
    if args.threads:
        torch.set_num_threads(args.threads)
    return args.part.measure()


def describe(answer: dict) -> str:
    """A table."""
    lines = [f"{answer['hardware']}, torch {answer['versions']['torch']}"]
    if "prune_after" in answer:
        lines[0] += f", stages after {', '.join(map(str, answer['prune_after']))}"
        what = "rate   GMACs"
    else:
        lines[0] += (
            f", {answer['parameters'] / 1e9:.2f} billion parameters in {answer['quantization']}, "
            f"loaded in {answer['load_s']:.0f} s and{_mib(answer['load_peak_mib'])} MiB"
        )
        what = "csp   tasks"
    lines.append(f"{'':28} {what}        ms   (quartiles)        MiB   official ms, MiB   ratio")
    return "\n".join([*lines, *map(_line, answer["rows"])])


def _line(row: dict) -> str:
    what = (
        f"{row['rate']:.2f} {row['gmacs']:7.1f}"
        if "rate" in row
        else f"{row['csp']:>4} {row['tasks']:7}"
    )
    low, high = row["quartiles_ms"]
    line = (
        f"{row['name']:28} {what} {row['median_ms']:9.2f}   "
        f"({low:.2f}-{high:.2f}) {_mib(row['peak_mib'])}"
    )
    if "ratio" in row:
        line += f" {row['baseline_ms']:9.2f} {_mib(row['baseline_peak_mib'])} {row['ratio']:7.2f}"
    return line


def _mib(value: float | None) -> str:
    return f"{'-' if value is None else round(value):>8}"

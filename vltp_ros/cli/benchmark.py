"""vltp benchmark: our code and the official one in the same run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import tyro

from vltp_ros.evaluation.benchmark import benchmark_encoder
from vltp_ros.runtime.session import PRECISIONS, resolve_device


@dataclass
class Benchmark:
    """SAM's image encoder at several pruning rates, prune decoder included; random weights."""

    part: tyro.conf.Positional[Literal["encoder"]]
    """What to time."""
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
    threads: int = 0
    """CPU threads; 0 leaves PyTorch's default."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(args: Benchmark) -> dict:
    """Measure; ValueError for bad rates, device or repeats."""
    if args.threads:
        torch.set_num_threads(args.threads)
    return benchmark_encoder(
        args.sam,
        resolve_device(args.device),
        PRECISIONS[args.dtype],
        args.rates,
        baseline=args.baseline,
        repeats=args.repeats,
    )


def describe(answer: dict) -> str:
    """A table."""
    lines = [
        f"{answer['hardware']}, torch {answer['versions']['torch']}, "
        f"stages after {', '.join(map(str, answer['prune_after']))}",
        f"{'':26} rate   GMACs        ms   (quartiles)        MiB   official ms, MiB   ratio",
    ]
    for row in answer["rows"]:
        low, high = row["quartiles_ms"]
        line = (
            f"{row['name']:26} {row['rate']:.2f} {row['gmacs']:7.1f} {row['median_ms']:9.2f}   "
            f"({low:.2f}-{high:.2f}) {_mib(row['peak_mib'])}"
        )
        if "ratio" in row:
            line += (
                f" {row['baseline_ms']:9.2f} {_mib(row['baseline_peak_mib'])} {row['ratio']:7.2f}"
            )
        lines.append(line)
    return "\n".join(lines)


def _mib(value: float | None) -> str:
    return f"{'-' if value is None else round(value):>8}"

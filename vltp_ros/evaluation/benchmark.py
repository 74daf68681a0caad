"""Time and memory of the encoder against segment_anything's own, in one process, turn by turn."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from vltp_ros.config import SAM_ENCODERS, ModelConfig, model_config
from vltp_ros.evaluation.flops import model_gmacs
from vltp_ros.evaluation.machine import measured_on
from vltp_ros.network.prune_decoder import WIDTH
from vltp_ros.network.run import Run, directly
from vltp_ros.network.token_selection import fixed_budget
from vltp_ros.network.vltp import Vltp
from vltp_ros.runtime.graphs import GraphRunner

OFFICIAL = "official"


@dataclass(frozen=True)
class Contender:
    """Something to be timed."""

    name: str
    rate: float  # share of tokens frozen at each stage
    work: Callable[[], object]


def benchmark_encoder(
    sam: str,
    device: torch.device,
    dtype: torch.dtype,
    rates: Sequence[float],
    *,
    baseline: bool = True,
    repeats: int = 7,
    progress: bool = True,
) -> dict:
    """One image through the encoder, prune decoder included, with random weights.

    Args:
        sam: size, a key of ``SAM_ENCODERS``.
        device: where; on a GPU both eager and as captured graphs.
        dtype: float32, or bfloat16 or float16 for autocast.
        rates: share of tokens frozen at each of the default stages; 0 prunes nothing.
        baseline: time segment_anything's own ``ImageEncoderViT`` too, with the same weights.
        repeats: measurements of each, in turns, so that a machine that slows down slows all.
        progress: show a bar on stderr.

    Returns:
        ``hardware``, ``versions``, ``sam``, ``prune_after`` and ``rows``: name, rate, dtype,
        device, gmacs, median_ms, quartiles_ms, peak_mib (growth of memory during one run; None
        where the system does not tell), and with the baseline baseline_ms, ratio (baseline / ours)
        and baseline_peak_mib.

    Raises:
        ValueError: for an unknown size, bad rates, or fewer than 3 repeats.
    """
    if sam not in SAM_ENCODERS:
        raise ValueError(f"sam is {sam!r}; allowed: {', '.join(SAM_ENCODERS)}")
    if repeats < 3:
        raise ValueError(f"repeats is {repeats}; it must be at least 3 to show a spread")
    model = _random_model(sam).to(device)
    stages = model.config.pruning.prune_after
    costs = {rate: _gmacs(model.config, rate) for rate in rates}
    contenders = _contenders(model, device, rates, baseline)
    with (
        torch.inference_mode(),
        torch.autocast(
            device.type,
            torch.bfloat16 if dtype is torch.float32 else dtype,
            enabled=dtype is not torch.float32,
            cache_enabled=False,
        ),
    ):
        peaks = [_peak_mib(contender.work, device) for contender in contenders]
        times = _in_turns(contenders, repeats, device, progress)
    medians = [1e3 * statistics.median(each) for each in times]
    rows = []
    for contender, each, median, peak in zip(contenders, times, medians, peaks, strict=True):
        if contender.name == OFFICIAL:
            continue
        first, _, third = statistics.quantiles(each, n=4)
        row = {
            "name": f"{sam} encoder, {contender.name}",
            "rate": contender.rate,
            "dtype": str(dtype).removeprefix("torch."),
            "device": device.type,
            "gmacs": round(costs[contender.rate], 1),
            "median_ms": round(median, 2),
            "quartiles_ms": [round(1e3 * first, 2), round(1e3 * third, 2)],
            "peak_mib": peak,
        }
        if baseline:
            row |= {
                "baseline_ms": round(medians[0], 2),
                "ratio": round(medians[0] / median, 3),
                "baseline_peak_mib": peaks[0],
            }
        rows.append(row)
    return {
        **measured_on(device),
        "sam": sam,
        "prune_after": list(stages),
        "repeats": repeats,
        "rows": rows,
    }


def _gmacs(config: ModelConfig, rate: float) -> float:
    stages = config.pruning.prune_after if rate else ()
    rates = (rate,) * len(stages)
    return model_gmacs(config, stages, rates)["gmacs"]


def _random_model(sam: str) -> Vltp:
    """Everything but the reasoner; weights are random, relative positions too."""
    torch.manual_seed(0)
    model = Vltp(model_config(sam), None).eval().requires_grad_(False)
    for name, parameter in model.image_encoder.named_parameters():
        if "rel_pos" in name or name == "pos_embed":
            nn.init.normal_(parameter, std=0.02)
    return model


def _contenders(
    model: Vltp, device: torch.device, rates: Sequence[float], baseline: bool
) -> list[Contender]:
    side = model.config.encoder.img_size
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, side, side, generator=generator).to(device)
    seg = torch.randn(1, 1, WIDTH, generator=generator).to(device)

    def ours(rate: float, run: Run) -> torch.Tensor:
        stages = model.config.pruning.prune_after if rate else ()
        tokens = model.stem(image, stages, run)
        budget = fixed_budget((rate,) * len(stages))
        encoded = model.encode(tokens, stages, budget, model.score(seg, run), run)
        return run(("merge",), model.encoder(()).merge, encoded.tokens)

    runs = {"eager": directly}
    if device.type == "cuda":
        runs["captured"] = GraphRunner(device)
    found = [Contender(OFFICIAL, 0.0, lambda: model.image_encoder(image))] if baseline else []
    return found + [
        Contender(name, rate, lambda rate=rate, run=run: ours(rate, run))
        for name, run in runs.items()
        for rate in rates
    ]


def _in_turns(
    contenders: list[Contender], repeats: int, device: torch.device, progress: bool
) -> list[list[float]]:
    """Seconds of each run of each contender."""
    times: list[list[float]] = [[] for _ in contenders]
    for _ in tqdm(range(repeats), disable=not progress):
        for contender, each in zip(contenders, times, strict=True):
            _wait(device)
            start = time.perf_counter()
            contender.work()
            _wait(device)
            each.append(time.perf_counter() - start)
    return times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_mib(work: Callable[[], object], device: torch.device) -> float | None:
    """Growth of memory during one run, MiB; a run before it sets libraries up."""
    work()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return round((torch.cuda.max_memory_allocated(device) - before) / 2**20, 1)
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what the allocator holds back would hide the growth
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    except (OSError, AttributeError):
        return None
    before = _status_kib("VmRSS")
    work()
    return round((_status_kib("VmHWM") - before) / 1024, 1)


def _status_kib(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))

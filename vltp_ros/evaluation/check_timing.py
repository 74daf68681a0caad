"""How long everything takes on a device, beside what the device could do at best."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from vltp_ros.evaluation.encoder_benchmark import benchmark_encoder
from vltp_ros.evaluation.random_models import TASKS, random_model
from vltp_ros.evaluation.reasoner_benchmark import time_reasoner
from vltp_ros.network.config import Quantization
from vltp_ros.network.csp import CSP_NAMES
from vltp_ros.network.prune_decoder import WIDTH
from vltp_ros.network.run import eager
from vltp_ros.network.sam import PrunedSam
from vltp_ros.network.token_selection import fixed_budget
from vltp_ros.runtime.device import dtype_name, resolve_precision
from vltp_ros.runtime.graphs import GraphRunner
from vltp_ros.runtime.memory import gpu_memory_mib, release_memory
from vltp_ros.runtime.reuse import ReuseConfig
from vltp_ros.runtime.session import Session
from vltp_ros.runtime.settings import InferenceSettings

RATES = (0.0, 0.5, 0.8)
FRAMES = 8
"""How often each rate has its turn; the first, in which parts are captured, does not count."""

SIZES = {"640x480": (480, 640), "1280x720": (720, 1280), "1920x1080": (1080, 1920)}


def measurements(device: torch.device, quick: bool) -> Iterator[dict]:
    """Measure ceilings, encoders, reasoners and whole frames; yield a row for each.

    Args:
        device: to measure.
        quick: the tabletop's sizes only; else those of SAM and LLaVA-7B on a GPU, and SAM ViT-B
            on a CPU.
    """
    matmul = yield from ceilings(device)
    large = not quick and device.type == "cuda"
    dtype = resolve_precision("auto", device)
    for sam in ("vit_b", "vit_l", "vit_h") if large else ("tabletop",) if quick else ("vit_b",):
        result = benchmark_encoder(
            sam, device, dtype, RATES, baseline=not quick, repeats=9 if large else 3, progress=False
        )
        yield from (with_share(row, matmul) for row in result["rows"])
    quantizations: tuple[Quantization, ...] = ("nf4", "bfloat16") if large else ("float32",)
    for quantization in quantizations:
        sam, llava = ("vit_h", "7b") if large else ("tabletop", "tabletop")
        model = random_model(sam, llava, quantization, device)
        rows = time_reasoner(
            model.reasoner, llava, quantization, ("off",) if quick else CSP_NAMES, (1, 4),
            baseline=True, repeats=3, progress=False,
        )  # fmt: skip
        yield from ({**row, "quantization": quantization} for row in rows)
        if large and quantization == quantizations[0]:
            yield from batches(model, device)
        yield from frames(Session(model, device), f"{sam} + {llava} {quantization}", quick)
        del model
        release_memory(device)


def with_share(row: dict, ceiling: float) -> dict:
    """Return a row with its share of the ceiling, TFLOP/s, where its cost is known."""
    if not row["gmacs"]:
        return row
    return {**row, "ceiling_share": round(2 * row["gmacs"] / row["median_ms"] / ceiling, 3)}


def ceilings(device: torch.device) -> Generator[dict, None, float]:
    """Measure the product of large matrices and a copy; return TFLOP/s of the product."""
    dtype = resolve_precision("auto", device)
    side = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product = _median_ms(lambda: a @ b, device)
    tflops = 2 * side**3 / product / 1e9
    name, kind = dtype_name(dtype), {"dtype": dtype_name(dtype), "device": device.type}
    yield {**_row(f"ceiling, {name} product", product), **kind, "tflops": round(tflops, 2)}
    block = torch.empty(2**28 if device.type == "cuda" else 2**26, dtype=torch.uint8, device=device)
    target = torch.empty_like(block)
    copy = _median_ms(lambda: target.copy_(block), device)
    speed = 2 * block.numel() / copy / 1e6
    yield {**_row("ceiling, copy", copy), **kind, "gb_per_s": round(speed, 1)}
    return tflops


def batches(model: PrunedSam, device: torch.device) -> Iterator[dict]:
    """Time the encoding of two cameras' images as one batch, beside one after the other."""
    model.cast(resolve_precision("auto", device))
    side, stages = model.config.encoder.img_size, model.config.pruning.prune_after
    model.run = GraphRunner(device) if device.type == "cuda" else eager

    def encode(images: torch.Tensor, segs: torch.Tensor, rate: float) -> torch.Tensor:
        budget = fixed_budget((rate,) * len(stages))
        tokens = model.stem(images, stages)
        return model.draw(model.encode(tokens, stages, budget, model.score(segs)), segs)

    with torch.inference_mode():
        for rate in RATES[1:]:
            one, two = (
                _median_ms(partial(encode, *_inputs(count, side, device), rate), device)
                for count in (1, 2)
            )
            yield {
                **_row(
                    f"{model.config.name} encoder and mask decoder, two images as one batch", two
                ),
                "rate": rate,
                "dtype": dtype_name(model.dtype),
                "device": device.type,
                **_compared(2 * one, two),
            }
    model.run = eager


def _inputs(count: int, side: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw so many inputs of the encoder and <SEG> embeddings."""
    images = torch.randn(count, 3, side, side, device=device)
    return images, torch.randn(count, 1, WIDTH, device=device)


def frames(session: Session, name: str, quick: bool) -> Iterator[dict]:
    """Time whole images, from pixels on the host to masks there, by stage; close the session."""
    kinds = itertools.product(SIZES, (1, 4), CSP_NAMES, (False, True))
    if quick:
        kinds = itertools.product(("640x480",), (1,), ("off",), (False,))
    for size, tasks, csp, reused in kinds:
        if csp != "off" and (tasks > 1 or reused):
            continue  # what a preset saves, one row shows
        what = f"{tasks} task{'s' * (tasks > 1)}, {'reused' if reused else 'fresh'} <SEG>"
        image = np.random.default_rng(0).integers(0, 256, (*SIZES[size], 3), np.uint8)
        reuse = ReuseConfig(max_age=3600.0 if reused else 0.0, max_change=1.0)
        settings = InferenceSettings(csp=csp, reuse=reuse, runner=session.settings.runner)
        row_name = f"frame {size}, {what}, csp {csp}, {name}"
        yield from _in_turns(row_name, session, settings, image, TASKS[:tasks])
    session.close()


def _in_turns(
    name: str,
    session: Session,
    settings: InferenceSettings,
    image: np.ndarray,
    tasks: Sequence[str],
) -> list[dict]:
    """Time an image at several rates in turns, as a machine's speed changes: a row for each.

    The baseline of pruned images is the dense one; ``first_ms`` includes what is captured.
    """
    rates = RATES if settings.csp == "off" else RATES[-1:]
    times: dict[float, list[float]] = {rate: [] for rate in rates}
    stages: dict[float, list[dict[str, float]]] = {rate: [] for rate in rates}
    first: dict[float, float] = {}
    for number, rate in itertools.product(range(FRAMES), rates):
        session.configure(replace(settings, rates=(rate,)))
        for stamp in (2.0 * number, 2.0 * number + 1):  # the second may reuse the first's <SEG>
            began = time.perf_counter()
            with session.compiling_at_once():
                results = session.segment(image, tasks, stamp=stamp)
            milliseconds = 1e3 * (time.perf_counter() - began)
            first.setdefault(rate, milliseconds)
        if number:
            times[rate].append(milliseconds)
            stages[rate].append(results[0].times_ms)
    medians = {rate: statistics.median(times[rate]) for rate in rates}
    return [
        {
            **_row(name, medians[rate]),
            **(_compared(medians[0.0], medians[rate]) if rate and 0.0 in medians else {}),
            "rate": rate,
            "csp": settings.csp,
            "tasks": len(tasks),
            "dtype": session.precision,
            "device": session.device.type,
            "first_ms": round(first[rate], 2),
            "stages_ms": {
                stage: round(statistics.median(run.get(stage, 0.0) for run in stages[rate]), 3)
                for stage in stages[rate][-1]
            },
            "peak_mib": gpu_memory_mib(session.device),
        }
        for rate in rates
    ]


def _compared(baseline_ms: float, median_ms: float) -> dict:
    """Return what a row says of its baseline."""
    return {
        "baseline_ms": round(baseline_ms, 3),
        "ratio": round(baseline_ms / median_ms, 3),
    }


def _row(name: str, median_ms: float) -> dict:
    """Return a row that has no baseline and no rate."""
    plain = {"rate": None, "baseline_ms": None, "ratio": None, "peak_mib": None}
    return {"name": name, "median_ms": round(median_ms, 3), **plain}


def _median_ms(work: Callable[[], object], device: torch.device, repeats: int = 9) -> float:
    """Return the median time of a call, by events on a GPU."""
    times = []
    for _ in range(repeats + 2):
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            work()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
        else:
            began = time.perf_counter()
            work()
            times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times[2:])

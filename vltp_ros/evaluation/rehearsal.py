"""A rehearsal at true size: what a training and an evaluation take, with random weights.

A few steps of each stage of training and one evaluated sample, by the code that trains and
evaluates.
The results mean nothing; shapes, files, time and memory are those of the real thing.
"""

from __future__ import annotations

import gc
import itertools
import json
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from vltp_ros.checkpoints.adapters import add_adapter
from vltp_ros.checkpoints.errors import ModelError
from vltp_ros.checkpoints.llava_files import empty_llava
from vltp_ros.checkpoints.lora import LoraConfig
from vltp_ros.checkpoints.quantization import HEADROOM, free_bytes, needed_bytes, quantized
from vltp_ros.data.samples import Sample
from vltp_ros.evaluation.benchmark import with_memory
from vltp_ros.evaluation.machine import measured_on
from vltp_ros.evaluation.metrics import MaskMetrics
from vltp_ros.evaluation.random_models import TASKS, random_model
from vltp_ros.evaluation.tabletop import Setting, answer
from vltp_ros.network.config import LLAVA_SIZES, SAM_ENCODERS, TrainingQuantization, model_config
from vltp_ros.network.sam import PrunedSam
from vltp_ros.network.vltp import Vltp
from vltp_ros.processes import ALONE, Process
from vltp_ros.runtime.session import Session
from vltp_ros.runtime.settings import InferenceSettings, Runner
from vltp_ros.training.batches import Batch, Source
from vltp_ros.training.config import FINETUNING, PRUNING, TrainConfig
from vltp_ros.training.loop import fit
from vltp_ros.training.new_model import llava_config, train_tokenizer
from vltp_ros.training.run_directory import CHECKPOINT, LOSSES, learning
from vltp_ros.training.stages import LoraStage, PrunedStage

log = logging.getLogger(__name__)

HEIGHT, WIDTH = 480, 640
"""Of the images, pixels: those of COCO."""

RATE = 0.5
"""Share of tokens frozen at each stage, the paper's first."""


class RandomSource(Source):
    """One batch of noise, with a rectangle as every answer."""

    data: Any = SimpleNamespace(identity="noise")
    classes = attributes = 0

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        self.starts: list[float] = []

    def batch(self, step: int) -> Batch:
        """Return the batch, whatever the step."""
        count, rng = self.config.batch, np.random.default_rng(self.config.seed)
        images = rng.integers(0, 256, (count, 3, HEIGHT, WIDTH), np.uint8)
        return Batch(
            torch.from_numpy(images),
            [[TASKS[i % len(TASKS)]] for i in range(count)],
            torch.from_numpy(rectangle()).expand(count, -1, -1),
            torch.zeros(count, HEIGHT, WIDTH, dtype=torch.int64),
            torch.zeros(count, 0),
        )

    def batches(self, start: int, process: Process = ALONE) -> Iterator[tuple[int, list[Batch]]]:
        """Yield what a source does, and note when each step begins."""
        for step, parts in super().batches(start, process):
            self.starts.append(time.perf_counter())
            yield step, parts

    def step_seconds(self) -> float | None:
        """Return the median time of a step that is neither the first nor the last, if any is.

        The first sets libraries up, and the last one's files are written before anything else
        begins.
        """
        between = [later - earlier for earlier, later in itertools.pairwise(self.starts)]
        return round(statistics.median(between[1:]), 3) if between[1:] else None


def rectangle() -> np.ndarray:
    """Return a mask bool [HEIGHT, WIDTH] of a quarter of the image."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[HEIGHT // 4 : 3 * HEIGHT // 4, WIDTH // 4 : 3 * WIDTH // 4] = True
    return mask


def rehearse(
    sam: str,
    llava: str,
    quantization: TrainingQuantization,
    device: torch.device,
    *,
    batch: int = 1,
    micro_batch: int | None = None,
    steps: int = 1,
) -> dict:
    """Build a model, train both stages for some steps, evaluate a sample.

    Args:
        sam: a key of SAM_ENCODERS.
        llava: a key of LLAVA_SIZES.
        quantization: of the language model's layers, which never lie in memory in 16 bits at once.
        device: where.
        batch: images in a step, each with one task.
        micro_batch: images computed at once; None: the whole batch.
        steps: of each stage.

    Returns:
        ``hardware``, ``versions``, ``sam``, ``llava``, ``quantization``, ``batch``,
        ``micro_batch``, ``steps``, ``peak_mib`` (memory that the process held at most, with what it
        held before; None where nobody tells) and ``rows``, one for each part: ``name``,
        ``seconds``, ``peak_mib``, and of a training ``step_seconds`` (from three steps on),
        ``learning`` (parameters), ``loss`` (the last) and ``checkpoint_mib``, of the evaluation
        ``times_ms`` and ``tokens`` (that each stage ran).

    Raises:
        ModelError: if there is too little memory, or a library is missing.
        ValueError: for a batch or steps below 1, or a batch that is no multiple of the micro-batch.
        RuntimeError: for a gradient that is not finite.
    """
    shown: dict[str, Any] = {"batch": batch, "micro_batch": micro_batch, "steps": steps}
    configs = [
        replace(config, **shown, tasks_per_image=1, warmup=0, rates=(RATE,), save_every=steps)
        for config in (FINETUNING, PRUNING)
    ]
    quantized(quantization)  # refuses where its library is missing
    _check_memory(sam, llava, quantization, device)
    rows: list[dict] = []

    def part(name: str, work: Callable[[], dict]) -> None:
        log.info("%s", name)
        gc.collect()
        start = time.perf_counter()
        row, memory = with_memory(work, device)
        seconds = round(time.perf_counter() - start, 1)
        peak = None if memory is None else round(memory.peak)
        rows.append({"name": name, "seconds": seconds, "peak_mib": peak, **row})

    model: Vltp

    def build() -> dict:
        nonlocal model
        model = random_model(sam, llava, quantization, device)
        add_adapter(model.reasoner.llava, LoraConfig())
        return {}

    part(f"random LLaVA {llava} in {quantization} and SAM {sam}", build)
    count = "a step" if steps == 1 else f"{steps} steps"
    part(f"stage 0, {count}: adapters", lambda: _train(LoraStage, model, configs[0]))
    part(f"stage 1, {count}: prune decoder", lambda: _train(PrunedStage, model, configs[1]))
    part("evaluation, a sample", lambda: _evaluate(model, device))
    peaks = [row["peak_mib"] for row in rows if row["peak_mib"] is not None]
    described = {"sam": sam, "llava": llava, "quantization": quantization, **shown}
    return {**measured_on(device), **described, "peak_mib": max(peaks, default=None), "rows": rows}


def _check_memory(sam: str, llava: str, quantization: str, device: torch.device) -> None:
    """Raise ModelError where the weights alone do not fit into the free memory."""
    tokenizer = train_tokenizer(TASKS)
    language = empty_llava(llava_config(LLAVA_SIZES[llava], tokenizer))
    shapes = [(name, tuple(p.shape)) for name, p in language.named_parameters()]
    with torch.device("meta"):
        count = sum(p.numel() for p in PrunedSam(model_config(sam)).parameters())
    needed = needed_bytes(shapes, quantization) + HEADROOM * torch.float32.itemsize * count
    free = free_bytes(device)
    if needed > free:
        raise ModelError(
            f"LLaVA {llava} in {quantization} with SAM {sam} needs more than {needed / 2**30:.1f} "
            f"GiB on {device}, and {free / 2**30:.1f} GiB are free; allowed: smaller sizes of "
            f"LLaVA ({', '.join(LLAVA_SIZES)}) and SAM ({', '.join(SAM_ENCODERS)})"
        )


def _train(
    kind: Callable[[Vltp, TrainConfig], nn.Module], model: Vltp, config: TrainConfig
) -> dict:
    """Run the steps of a stage as a training does, its files included."""
    stage, source = kind(model, config).train(), RandomSource(config)
    with TemporaryDirectory() as run:
        fit(stage, source, config, Path(run))
        loss = json.loads((Path(run) / LOSSES).read_text().splitlines()[-1])["loss"]
        size = (Path(run) / CHECKPOINT).stat().st_size
    count = sum(parameter.numel() for parameter in learning(stage).values())
    stage.zero_grad(set_to_none=True)
    row = {"learning": count, "loss": loss, "checkpoint_mib": round(size / 2**20)}
    seconds = source.step_seconds()
    return row if seconds is None else {"step_seconds": seconds, **row}


def _evaluate(model: Vltp, device: torch.device) -> dict:
    """Answer and count one sample as an evaluation does."""
    model.eval().requires_grad_(False)
    # Compiling for a CPU takes longer than the sample, and holds SAM's weights twice.
    runner: Runner = "eager" if device.type == "cpu" else "auto"
    session = Session(model, device, InferenceSettings(rates=(RATE,), runner=runner))
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    sample = Sample(image, TASKS[0], rectangle())
    answered = answer(session, Setting("prune_decoder", RATE), sample, seed=0)
    metrics = MaskMetrics()
    metrics.add(answered.mask, sample.mask)
    times = {name: round(value) for name, value in answered.times_ms.items()}
    return {"times_ms": times, "tokens": list(answered.tokens), "giou": metrics.giou}

"""LLaVA as a reasoner against transformers' own forward."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from vltp_ros.checkpoints.llava import PROMPT
from vltp_ros.checkpoints.llava_files import load_reasoner
from vltp_ros.checkpoints.quantization import UNCAPTURABLE
from vltp_ros.evaluation.benchmark import Candidate, benchmark, watched, ways_to_run
from vltp_ros.evaluation.flops import image_token_cost
from vltp_ros.evaluation.machine import measured_on
from vltp_ros.evaluation.random_models import TASKS
from vltp_ros.network.config import LLAVA_SIZES, LlavaSizes, Quantization, model_config
from vltp_ros.network.csp import csp_config
from vltp_ros.network.preprocessing import llava_input
from vltp_ros.network.reasoner import Reasoner
from vltp_ros.network.run import Run, eager
from vltp_ros.training.new_model import llava_config, train_tokenizer


def benchmark_reasoner(
    size: str,
    device: torch.device,
    quantization: Quantization,
    csp: Sequence[str],
    tasks: Sequence[int],
    *,
    baseline: bool = True,
    repeats: int = 5,
    progress: bool = True,
) -> dict:
    """Time <SEG> for one 640x480 image and some tasks, with random weights of the true shapes.

    Args:
        size: a key of LLAVA_SIZES.
        device: where; on a GPU both eager and with the language model as a captured graph.
        quantization: one of QUANTIZATIONS.
        csp: some of CSP_NAMES.
        tasks: numbers of tasks on the image, 1 to 4.
        baseline: time transformers' own forward too, with the same weights, on a batch with the
            image once for each task.
        repeats: measurements of each candidate.
        progress: show a bar on stderr.

    Returns:
        ``hardware``, ``versions``, ``size``, ``quantization``, ``parameters``, ``load_s``,
        ``load_peak_mib`` (growth of memory while it is loaded), ``repeats`` and ``rows``: name,
        csp, tasks, average_tokens (image tokens in a layer), device and what :func:`benchmark`
        measures.

    Raises:
        ModelError: if there is too little memory, or no bitsandbytes.
        ValueError: for a number of tasks or repeats that is not allowed.
    """
    for count in tasks:
        if not 1 <= count <= len(TASKS):
            raise ValueError(f"tasks is {count}; allowed: 1 to {len(TASKS)}")
    reasoner, loading = _load_random(size, quantization, device)
    rows = time_reasoner(
        reasoner, size, quantization, csp, tasks, baseline=baseline, repeats=repeats,
        progress=progress,
    )  # fmt: skip
    return {
        **measured_on(device),
        "size": size,
        "quantization": quantization,
        **loading,
        "repeats": repeats,
        "rows": rows,
    }


def time_reasoner(
    reasoner: Reasoner,
    size: str,
    quantization: Quantization,
    csp: Sequence[str],
    tasks: Sequence[int],
    *,
    baseline: bool,
    repeats: int,
    progress: bool,
) -> list[dict]:
    """Time a reasoner where it is; return the rows of :func:`benchmark_reasoner`."""
    device = reasoner.llava.device
    reasoner.lay_out()
    entered = [
        candidate
        for count in tasks
        for candidate in _candidates(reasoner, size, device, quantization, csp, count, baseline)
    ]
    official = {entry.row["tasks"]: entry for entry in entered if entry.row["csp"] is None}
    with torch.inference_mode():
        rows = benchmark(
            entered,
            device,
            repeats=repeats,
            progress=progress,
            against=lambda entry: official.get(entry.row["tasks"]) if entry.row["csp"] else None,
        )
    reasoner.run = eager
    return [row for row in rows if row["csp"]]


def _load_random(
    size: str, quantization: Quantization, device: torch.device
) -> tuple[Reasoner, dict]:
    """Return LLaVA with random weights, vision tower included, and what loading it took.

    It is written to a temporary directory in bfloat16 and loaded as any model is.
    """
    with TemporaryDirectory() as scratch:
        parameters = write_random_llava(Path(scratch), LLAVA_SIZES[size], device)
        config = dataclasses.replace(
            model_config("tabletop"), prompt=PROMPT, quantization=quantization
        )
        gc.collect()
        start = time.perf_counter()
        reasoner, peak = watched(lambda: load_reasoner(Path(scratch), config, device), device)
        load_s = round(time.perf_counter() - start, 1)
    reasoner.eval().requires_grad_(False).projection.to(device)
    return reasoner, {"parameters": parameters, "load_s": load_s, "load_peak_mib": peak}


def write_random_llava(directory: Path, sizes: LlavaSizes, device: torch.device) -> int:
    """Write LLaVA in bfloat16 and a small tokenizer; return the number of parameters.

    Args:
        directory: one that exists.
        sizes: of the model.
        device: where the weights are drawn; a CPU takes minutes for seven billion.
    """
    tokenizer = train_tokenizer([PROMPT, *TASKS])
    config = llava_config(sizes, tokenizer)
    with torch.device("meta"):
        llava = LlavaForConditionalGeneration(config)
    llava.bfloat16().to_empty(device=device)
    llava.tie_weights()
    torch.manual_seed(0)
    for name, parameter in llava.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.02)
        else:
            torch.nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
    llava.save_pretrained(directory, max_shard_size="2GB")
    tokenizer.save_pretrained(directory)
    return sum(parameter.numel() for parameter in llava.parameters())


def _candidates(
    reasoner: Reasoner,
    size: str,
    device: torch.device,
    quantization: Quantization,
    csp: Sequence[str],
    count: int,
    baseline: bool,
) -> list[Candidate]:
    """Return ours with each preset for a number of tasks, and last the baseline if wanted."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, 3, 480, 640), dtype=torch.uint8, generator=generator)
    image, tasks = image.to(device), list(TASKS[:count])

    def ours(csp: str, run: Run) -> Tensor:
        reasoner.run = run
        return reasoner.reason(reasoner.encode_image(image), [tasks], csp=csp_config(csp)).seg

    def row(name: str, csp: str | None) -> dict:
        average = image_token_cost(size, csp or "off")["average_tokens"]
        described = {"csp": csp, "tasks": count, "average_tokens": round(average, 1)}
        return {"name": f"{size} reasoner, {name}", **described, "device": device.type}

    candidates = [
        Candidate(partial(ours, preset, run), row(name, preset), name == "captured")
        for name, run in ways_to_run(device, quantization not in UNCAPTURABLE).items()
        for preset in csp
    ]
    if baseline:
        official = transformers_forward(reasoner, image, tasks)
        candidates.append(Candidate(official, row("transformers", None)))
    return candidates


def transformers_forward(reasoner: Reasoner, image: Tensor, tasks: list[str]) -> partial:
    """Return a call of transformers' own forward on an image and its prompts, up to ``[SEG]``."""
    llava, tokenizer = reasoner.llava, reasoner.tokenizer
    side, tokens = llava.model.vision_tower.config.image_size, llava.config.image_seq_length
    prompt = reasoner.prompt.partition("[SEG]")[0]
    prompts = [
        prompt.replace("{image}", reasoner.prompts.image_token * tokens).replace("{task}", task)
        for task in tasks
    ]
    inputs = tokenizer(prompts, return_tensors="pt", padding=True).to(image.device)
    pixels = llava_input(image, side, reasoner.framing).to(llava.dtype)
    return partial(
        llava,
        input_ids=inputs.input_ids,
        attention_mask=inputs.attention_mask,
        pixel_values=pixels.expand(len(tasks), -1, -1, -1),
        use_cache=False,
        logits_to_keep=1,
    )

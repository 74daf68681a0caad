"""Checks that a device and the installed libraries compute what they should.

Each takes a :class:`Context`, returns what it measured beside what is allowed, and raises where
that does not hold.
"""

from __future__ import annotations

import copy
import gc
import importlib.util
import itertools
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vltp_ros.evaluation import broken_captures
from vltp_ros.evaluation.check_context import (
    Context,
    NotApplicableError,
    exact_float32,
    relative_error,
    within,
)
from vltp_ros.evaluation.random_models import TASKS, random_model, random_reasoner, random_sam
from vltp_ros.network.csp import CspName
from vltp_ros.network.prune_decoder import WIDTH
from vltp_ros.network.run import Run, eager
from vltp_ros.network.sam import PrunedSam
from vltp_ros.network.token_selection import fixed_budget
from vltp_ros.runtime.device import dtype_name, resolve_precision
from vltp_ros.runtime.graphs import GraphRunner
from vltp_ros.runtime.memory import gpu_memory_mib, release_memory
from vltp_ros.runtime.session import Session
from vltp_ros.runtime.settings import InferenceSettings, Runner

CPU = torch.device("cpu")


def check_official(context: Context) -> str:
    """Compare the dense encoder in float32 with segment_anything's, whose weights it uses."""
    model = random_sam(context.sam, context.device)
    image = _square(model, context.device)
    with torch.inference_mode(), exact_float32():
        ours = model.encoder(()).merge(model.stem(image, ()))
        return within(relative_error(ours, model.image_encoder(image)), 1e-4, "relative error")


def check_pruned_positions(context: Context) -> str:
    """Compare the encoder that keeps all tokens, by the pruned path, with the dense one."""
    model = random_sam(context.sam, context.device)
    image, stages = _square(model, context.device), model.config.pruning.prune_after
    with torch.inference_mode(), exact_float32():
        dense = model.encoder(()).merge(model.stem(image, ()))
        encoder = model.encoder(stages)
        every = torch.arange(model.config.encoder.grid**2, device=context.device).unsqueeze(0)
        kept = encoder(image, lambda stage, tokens: every).features
        return within(relative_error(kept, dense), 1e-4, "relative error")


def check_precision(context: Context) -> str:
    """Compare the error of the encoder in 16 bits with that of the official code in them."""
    dtype = resolve_precision("auto", context.device)
    dtype = torch.bfloat16 if dtype is torch.float32 else dtype
    model = random_sam(context.sam, context.device)
    image = _square(model, context.device)
    with torch.inference_mode():
        exact = model.image_encoder(image)
        with torch.autocast(context.device.type, dtype):
            mixed = relative_error(model.image_encoder(image), exact)
        official = copy.deepcopy(model.image_encoder).to(dtype)
        allowed = 1.2 * relative_error(official(image.to(dtype)), exact)
        model.cast(dtype)
        error = relative_error(model.encoder(()).merge(model.stem(image, ())), exact)
    what = f"relative error in {dtype_name(dtype)} (official code under autocast: {mixed:.2g})"
    return within(error, allowed, what)


def check_devices_agree(context: Context) -> str:
    """Compare masks of the device with those of the CPU, both in float32."""
    context.need_gpu()
    settings = InferenceSettings(precision="float32", runner="eager")
    answers = []
    for device in (CPU, context.device):
        model = random_model("tabletop", "tabletop", "float32", CPU)
        session = Session(model.to(device), device, settings)
        with exact_float32():
            answers.append(session.segment(_image(480, 640), TASKS[:2]))
    worst = max(
        float(np.abs(a.probability - b.probability).mean()) for a, b in zip(*answers, strict=True)
    )
    return within(worst, 2e-3, "mean difference of probabilities")


def check_compiled(context: Context) -> str:
    """Compare what is captured or compiled with what runs as it is, from pixels to masks."""
    model = random_model("tabletop", "tabletop", "float32", context.device)
    compiled = Session(model, context.device)
    if not compiled.compiles:
        raise NotApplicableError("nothing is compiled on this device")
    answers, parts = dict[Runner, list[np.ndarray]](), 0
    runners: tuple[Runner, Runner] = ("auto", "eager")
    csps: tuple[CspName, ...] = ("off", "65")
    for runner in runners:
        session = compiled if runner == "auto" else Session(model, context.device)
        for rate, csp, tasks in itertools.product((0.0, 0.8), csps, (1, 2)):
            session.configure(InferenceSettings(rates=(rate,), csp=csp, runner=runner))
            with session.compiling_at_once():
                result = session.segment(_image(480, 640), TASKS[:tasks])[-1]
            answers.setdefault(runner, []).append(result.probability)
        parts = max(parts, session.captures)  # those of a session that the next one replaces
    pairs = zip(*answers.values(), strict=True)
    worst = max(float(np.abs(a - b).mean()) for a, b in pairs)
    what = f"mean difference of probabilities, {parts} parts compiled"
    return within(worst, 4e-3, what)


def check_4_bit(context: Context) -> str:
    """Compare LLaVA's <SEG> in NF4 with that of the same weights in float32."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise NotApplicableError("bitsandbytes is not installed")
    image = torch.from_numpy(_image(480, 640)).permute(2, 0, 1).unsqueeze(0).to(context.device)
    segs = {}
    for quantization in ("float32", "bfloat16", "nf4"):
        reasoner = random_reasoner("tabletop", quantization, context.device)
        reasoner.projection.float()
        with torch.inference_mode():
            segs[quantization] = reasoner(image, [list(TASKS)]).float()
    rough = relative_error(segs["bfloat16"], segs["float32"])
    return within(
        relative_error(segs["nf4"], segs["float32"]), 0.5, f"relative error, bfloat16 {rough:.2g}"
    )


SHAPES = {
    "windows of ViT-H": (25, 16, 196, 196, 80, "bias"),
    "global of ViT-H": (1, 16, 2048, 4096, 80, "bias"),
    "kept of ViT-H": (1, 16, 819, 819, 80, "bias"),
    "tiles of ViT-H": (64, 16, 32, 196, 80, "bias"),
    "LLaVA's prefill": (1, 32, 290, 290, 128, "causal"),
}
"""Name -> batch, heads, queries, keys, head width, mask: what attention is asked to do."""


def check_attention(context: Context) -> str:
    """Compare fused attention, by its default backend, with float64 on the shapes that occur."""
    dtype = resolve_precision("auto", context.device)
    worst, slack = "", 0.0
    for name, (batch, heads, queries, keys, width, kind) in SHAPES.items():
        if context.device.type == "cpu":
            batch, heads, queries, keys = 1, 2, min(queries, 256), min(keys, 256)
        q, k, v = (
            torch.randn(batch, heads, count, width, device=context.device, dtype=dtype)
            for count in (queries, keys, keys)
        )
        mask = torch.ones(queries, keys, dtype=torch.bool, device=context.device).tril(
            keys - queries
        )
        if kind == "bias":
            mask = torch.randn(batch, heads, queries, keys, device=context.device, dtype=dtype)
        out = F.scaled_dot_product_attention(q, k, v, mask)
        error = relative_error(out.double(), _exact_attention(q, k, v, mask))
        allowed = 1e-5 if dtype is torch.float32 else 0.02
        if error / allowed >= slack:
            slack, worst = (
                error / allowed,
                f"{name}: relative error {error:.2g}, allowed {allowed:g}",
            )
    if slack > 1:
        raise AssertionError(worst)
    return worst


def check_graph_stress(context: Context) -> str:
    """Replay graphs of many shapes in random order, among memory that is overwritten meanwhile."""
    context.need_gpu()
    model = random_sam("tabletop" if context.quick else "vit_b", context.device)
    model.cast(resolve_precision("auto", context.device))
    stages, runner = model.config.pruning.prune_after, GraphRunner(context.device, limit=12)
    generator, worst = torch.Generator().manual_seed(0), 0.0
    with torch.inference_mode():
        for _ in range(40 if context.quick else 120):
            rate = (0.0, 0.3, 0.5, 0.8)[int(torch.randint(4, (), generator=generator))]
            tasks = 1 + int(torch.randint(3, (), generator=generator))
            image, seg = _square(model, context.device), _segs(tasks, context.device)
            poison = [torch.full((2**n,), torch.nan, device=context.device) for n in (18, 21, 24)]
            del poison  # what is freed too early is overwritten by the next of these
            replayed, expected = (
                _encode(model, image, seg, stages, rate, run) for run in (runner, eager)
            )
            worst = max(worst, relative_error(replayed.float(), expected.float()))
    if runner.failed:
        raise AssertionError("a part could not be captured")
    return within(worst, 0.02, f"relative error of {runner.captures} captures")


def check_memory(context: Context) -> str:
    """Load, use and close sessions: no memory may stay behind."""
    context.need_gpu()

    def use() -> float:
        model = random_model("tabletop", "tabletop", "float32", context.device)
        session = Session(model, context.device)
        del model
        session.warm_up()
        session.close()
        gc.collect()
        release_memory(context.device)
        return gpu_memory_mib(context.device) or 0.0

    use()  # what the libraries keep for themselves
    left = [use() for _ in range(3)]
    return within(max(left) - min(left), 0.0, "MiB that grew in three cycles")


def check_frames(context: Context) -> str:
    """Segment frame after frame, for 1 to 4 tasks: nothing is captured late, memory is flat."""
    context.need_gpu()
    count = 300 if context.quick else 10_000
    session = Session(
        random_model("tabletop", "tabletop", "float32", context.device), context.device
    )
    session.warm_up()
    image, memory = _image(480, 640), []
    for number in range(count):
        session.segment(image, TASKS[: 1 + number % len(TASKS)])
        if number in (count // 10, count - 1):
            memory.append(gpu_memory_mib(context.device) or 0.0)
    late = session.late_captures
    session.close()
    if late:
        raise AssertionError(f"{late} captures in {count} frames after the warm-up; allowed: none")
    grown = memory[-1] - memory[0]
    return within(grown, 0.0, f"MiB that grew in {count} frames, none of which was captured late,")


def check_broken_captures(context: Context) -> str:
    """Let captures fail and run out of memory, in processes of their own; others must go on."""
    context.need_gpu()

    def run(case: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, broken_captures.__file__, case, str(context.device)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    cases = tuple(broken_captures.CASES)
    with ThreadPoolExecutor() as pool:  # most of their time they import PyTorch
        for case, done in zip(cases, pool.map(run, cases), strict=True):
            if done.returncode:
                last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
                raise AssertionError(f"{case}: {last}")
    return f"what was captured replays after each of {', '.join(cases)}"


CHECKS: dict[str, Callable[[Context], str]] = {
    "dense encoder = segment_anything's": check_official,
    "keep-all pruning = dense": check_pruned_positions,
    "precision": check_precision,
    "GPU = CPU": check_devices_agree,
    "compiled = eager": check_compiled,
    "4 bits": check_4_bit,
    "attention = float64": check_attention,
    "graphs under stress": check_graph_stress,
    "memory of closed sessions": check_memory,
    "frames in a row": check_frames,
    "captures that break": check_broken_captures,
}
"""Name -> check, in the order in which they run; what may break a process for others comes last."""


def _square(model: PrunedSam, device: torch.device) -> Tensor:
    """Draw the encoder's input, [1, 3, S, S]."""
    side = model.config.encoder.img_size
    return torch.randn(1, 3, side, side, device=device)


def _segs(tasks: int, device: torch.device) -> Tensor:
    """Draw <SEG> embeddings [T, 1, 256]."""
    return torch.randn(tasks, 1, WIDTH, device=device)


def _image(height: int, width: int) -> np.ndarray:
    """Return an image, uint8 [H, W, 3], of smooth colours."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / (20 + 9 * i)) + np.cos(columns / (31 - 5 * i)) for i in range(3)]
    return (127.5 + 63 * np.stack(waves, -1)).astype(np.uint8)


def _encode(
    model: PrunedSam, image: Tensor, seg: Tensor, stages: tuple[int, ...], rate: float, run: Run
) -> Tensor:
    """Return mask logits."""
    model.run = run
    tokens = model.stem(image, stages).expand(len(seg), -1, -1).contiguous()
    encoded = model.encode(tokens, stages, fixed_budget((rate,) * len(stages)), model.score(seg))
    return model.draw(encoded, seg)


def _exact_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Return attention in float64, head by head, which fits into memory."""
    heads = []
    for head in range(q.shape[1]):
        logits = q[:, head].double() @ k[:, head].double().mT / q.shape[-1] ** 0.5
        if mask.dtype is torch.bool:
            logits = logits.masked_fill(~mask, float("-inf"))
        else:
            logits = logits + mask[:, head].double()
        heads.append(logits.softmax(-1) @ v[:, head].double())
    return torch.stack(heads, 1)

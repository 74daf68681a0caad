"""The encoder against segment_anything's own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial

import torch
from segment_anything.modeling.image_encoder import ImageEncoderViT

from vltp_ros.evaluation.benchmark import Candidate, benchmark, ways_to_run
from vltp_ros.evaluation.flops import model_gmacs
from vltp_ros.evaluation.machine import measured_on
from vltp_ros.evaluation.random_models import random_sam
from vltp_ros.evaluation.rivals import rival_encoders
from vltp_ros.network.config import SAM_ENCODERS, ModelConfig
from vltp_ros.network.prune_decoder import WIDTH
from vltp_ros.network.run import Run
from vltp_ros.network.sam import PrunedSam
from vltp_ros.network.token_selection import fixed_budget
from vltp_ros.runtime.device import dtype_name


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
    """Time one image through the encoder, prune decoder included, with random weights.

    Args:
        sam: size, a key of ``SAM_ENCODERS``.
        device: where; on a GPU both eager and as captured graphs, on a CPU both eager and, where
            OpenVINO is installed, compiled.
        dtype: of our weights; where it is shorter than float32 the official code, which leaves
            some sums in float32, keeps its weights and runs under autocast.
        rates: share of tokens frozen at each of the default stages; 0 prunes nothing.
        baseline: time segment_anything's own ``ImageEncoderViT`` too, with the same weights; on a
            CPU, in float32, also as :func:`rival_encoders` run it.
        repeats: measurements of each candidate.
        progress: show a bar on stderr.

    Returns:
        ``hardware``, ``versions``, ``sam``, ``prune_after``, ``repeats`` and ``rows``: name, rate,
        dtype, device, gmacs and what :func:`benchmark` measures.

    Raises:
        ValueError: for an unknown size, bad rates, or fewer than 3 repeats.
    """
    if sam not in SAM_ENCODERS:
        raise ValueError(f"sam is {sam!r}; allowed: {', '.join(SAM_ENCODERS)}")
    model = random_sam(sam, device)
    stages = model.config.pruning.prune_after
    # Its code computes in float32 in between, which a CPU's norms refuse with weights of 16 bits.
    reference = copy.deepcopy(model.image_encoder) if baseline else model.image_encoder
    model.cast(dtype)
    official, *ours = _candidates(model, reference, device, dtype, rates, rivals=baseline)
    entered = [official, *ours] if baseline else ours
    with torch.inference_mode():
        rows = benchmark(
            entered,
            device,
            repeats=repeats,
            progress=progress,
            against=lambda entry: official if baseline and entry is not official else None,
        )
    return {
        **measured_on(device),
        "sam": sam,
        "prune_after": list(stages),
        "repeats": repeats,
        "rows": rows[-len(ours) :],
    }


def _gmacs(config: ModelConfig, rate: float) -> float:
    """Return the cost of encoder and prune decoder at a rate, which 0 leaves unpruned."""
    stages = config.pruning.prune_after if rate else ()
    rates = (rate,) * len(stages)
    return model_gmacs(config, stages, rates)["gmacs"]


def _candidates(
    model: PrunedSam,
    reference: ImageEncoderViT,
    device: torch.device,
    dtype: torch.dtype,
    rates: Sequence[float],
    rivals: bool,
) -> list[Candidate]:
    """Return the official encoder as a candidate, the rivals if wanted, and ours at each rate."""
    side = model.config.encoder.img_size
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, side, side, generator=generator).to(device)
    seg = torch.randn(1, 1, WIDTH, generator=generator).to(device)
    costs = {rate: round(_gmacs(model.config, rate), 1) for rate in rates}

    def ours(rate: float, run: Run) -> torch.Tensor:
        stages = model.config.pruning.prune_after if rate else ()
        model.run = run
        tokens = model.stem(image, stages)
        budget = fixed_budget((rate,) * len(stages))
        encoded = model.encode(tokens, stages, budget, model.score(seg))
        return run(("merge",), model.encoder(()).merge, encoded.tokens)

    def row(name: str, rate: float, gmacs: float | None = None) -> dict:
        return {
            "name": f"{model.config.name} encoder, {name}",
            "rate": rate,
            "dtype": dtype_name(dtype),
            "device": device.type,
            "gmacs": gmacs,
        }

    def official() -> torch.Tensor:
        reduced = dtype is not torch.float32
        with torch.autocast(device.type, dtype if reduced else torch.bfloat16, enabled=reduced):
            encoded: torch.Tensor = reference(image)
            return encoded

    others = {}
    if rivals and device.type == "cpu" and dtype is torch.float32:
        others = rival_encoders(reference, image)
    return [
        Candidate(official, row("official", 0.0)),
        *(Candidate(run, row(name, 0.0)) for name, run in others.items()),
        *(
            Candidate(partial(ours, rate, run), row(name, rate, costs[rate]), name == "captured")
            for name, run in ways_to_run(device, compilable=True).items()
            for rate in rates
        ),
    ]

"""The training loop: resumable at any moment, with its losses in a file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.contrib.logging import logging_redirect_tqdm

from vltp_ros.network.hardware import has_bfloat16
from vltp_ros.processes import this_process, together
from vltp_ros.progress import progress_bar
from vltp_ros.training.batches import Source
from vltp_ros.training.best import BestWeights
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.journals import open_journals, refuse_missing
from vltp_ros.training.optimisers import new_optimisers, schedule, set_rates
from vltp_ros.training.replica import Replica, refuse_other_starts
from vltp_ros.training.run_directory import begin, learning, options_of, resume, save
from vltp_ros.training.sharding import refuse_alone, shard_frozen
from vltp_ros.training.validation import Validation

log = logging.getLogger(__name__)

DECODER = "model.reasoner.llava.model.language_model"
"""What --shard-weights shares of a stage."""

LATEST = 0.05
"""Weight of the latest loss in the mean that the progress bar shows."""


def fit(
    stage: nn.Module,
    source: Source,
    config: TrainConfig,
    run: Path,
    options: Mapping[str, Any] | None = None,
    validation: Validation | None = None,
) -> float:
    """Train the parameters of ``stage`` that require gradients, on the device where they are.

    A killed run goes on from what is in its directory, see :mod:`vltp_ros.training.run_directory`.

    Args:
        stage: returns losses by name for a batch and a step; ``loss`` is minimised.
        source: of the batches.
        config: settings of the run.
        run: its directory, made if missing.
        options: option -> value of what else the result depends on, e.g. the model to start from.
        validation: what to measure meanwhile; its results are logged, and in losses.jsonl.

    Returns:
        Seconds of training, those before it was stopped included.

    Raises:
        ValueError: if ``run`` was begun with other options or settings, on other data or for other
            weights, or if its checkpoint is damaged.
        ModuleNotFoundError: naming the command that installs what a log needs.
        OSError: naming the file that cannot be written.
    """
    process, device = this_process(), next(iter(learning(stage).values())).device
    source.share(process)  # refuses a batch that cannot be shared, before anything is written
    refuse_missing(config.log)
    if config.shard_weights:
        refuse_alone(process)
    begun = {**(options or {}), "--data": source.data.identity, **options_of(config)}
    if process.is_first:
        begin(run, begun)
    bfloat16 = has_bfloat16(device) if config.bfloat16 is None else config.bfloat16
    autocast = partial(torch.autocast, device.type, torch.bfloat16, enabled=bfloat16)
    optimisers = new_optimisers(stage, config, torch.bfloat16 if bfloat16 else torch.float32)
    start, spent = resume(stage, optimisers, run)
    since = time.monotonic() - spent
    with together(device.type == "cpu"):
        refuse_other_starts(process, begun, start, run)
        if config.shard_weights:
            shard_frozen(stage.get_submodule(DECODER), process)
        best = BestWeights(run, start) if process.is_first and validation is not None else None
        replica = Replica(stage, process)
        with open_journals(run, start, process, config.log) as journals:
            for step, losses in _steps(replica, source, start, config, optimisers, autocast):
                if validation is not None and validation.is_due(step):
                    losses |= _validate(validation, step, stage, autocast)
                    if best is not None:
                        best.offer(stage, step + 1, losses)
                journals.write(step, losses)
                last = step + 1 == config.steps
                if process.is_first and (last or (step + 1) % config.save_every == 0):
                    journals.flush()
                    save(stage, optimisers, step + 1, time.monotonic() - since, run)
    return time.monotonic() - since


def _steps(
    replica: Replica,
    source: Source,
    start: int,
    config: TrainConfig,
    optimisers: list[torch.optim.Optimizer],
    autocast: Callable[[], AbstractContextManager],
) -> Iterator[tuple[int, dict[str, float]]]:
    """Take the steps from ``start`` on, under a bar, and yield the number and losses of each."""
    process, device = replica.process, replica.device
    options = {"initial": start, "total": config.steps, "unit": "step", "mininterval": 2}
    bar = progress_bar(source.batches(start, process), shown=process.is_first, **options)
    mean = None  # of the latest losses
    with bar, logging_redirect_tqdm():
        for step, parts in bar:
            set_rates(optimisers, schedule(step, config))
            losses = replica.learn([p.to(device) for p in parts], step, config.seed, autocast)
            _update(replica.stage, step, optimisers, config.clip)
            mean = losses["loss"] if mean is None else mean + LATEST * (losses["loss"] - mean)
            bar.set_postfix_str(f"loss {mean:.3f}", refresh=False)
            yield step, losses


def _update(
    stage: nn.Module, step: int, optimisers: list[torch.optim.Optimizer], clip: float
) -> None:
    """Let the optimisers use the gradients; RuntimeError for one that is not finite."""
    norm = nn.utils.clip_grad_norm_(learning(stage).values(), clip)
    if not torch.isfinite(norm):
        raise RuntimeError(f"the gradient at step {step} is {norm.item()}; see losses.jsonl")
    for optimiser in optimisers:
        optimiser.step()


def _validate(
    validation: Validation,
    step: int,
    stage: nn.Module,
    autocast: Callable[[], AbstractContextManager],
) -> dict[str, float]:
    """Return what a validation after a step measures, and log it."""
    measured = validation(stage, autocast)
    log.info("step %d: %s", step + 1, ", ".join(f"{n} {v:.3f}" for n, v in measured.items()))
    return measured

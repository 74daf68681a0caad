"""vltp train: the dense model from scratch, then the prune decoder on top of it."""

from __future__ import annotations

import dataclasses
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from vltp_ros.config import TrainConfig
from vltp_ros.data.tabletop import TabletopDataset
from vltp_ros.network.checkpoint import load_model, read_sources, save_model
from vltp_ros.network.vltp import Vltp
from vltp_ros.simulation import TASKS
from vltp_ros.training.batches import BatchSource
from vltp_ros.training.loop import fit
from vltp_ros.training.stages import AttentionStage, DenseStage, EncoderStage, PrunedStage
from vltp_ros.training.tabletop import new_model

STARTED = {"attention": AttentionStage, "prune": PrunedStage}
"""The stages that need a trained dense model."""


@dataclass
class Train:
    """Train on tabletop scenes; a killed run continues when the same command is given again."""

    stage: Literal["encoder", "dense", "attention", "prune"]
    """encoder: the image encoder, from scratch; dense: everything but the pruned half; attention:
    where LLaVA looks, all else frozen; prune: the pruned half, all else frozen."""
    data: Path
    """Data set written by `vltp scenes`."""
    run: Path
    """Directory for the checkpoint and losses.jsonl."""
    out: Path
    """Model directory to write when done."""
    init: Path | None = None
    """Model directory to start from; needed by the attention and prune stages, a new model without
    it."""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    json: bool = False
    """Print one JSON object on stdout."""


def run(args: Train) -> dict:
    """Train and write the model directory; ValueError for arguments that do not fit together."""
    data = TabletopDataset(args.data)
    source = BatchSource(data, TASKS, args.config)
    torch.manual_seed(args.config.seed)
    model = _initial_model(args)
    if args.stage in STARTED:
        stage = STARTED[args.stage](model, args.config)
    else:
        made = {"encoder": EncoderStage, "dense": DenseStage}[args.stage]
        stage = made(model, args.config, len(data.kinds))
    seconds = fit(stage.train(), source, args.config, args.run)
    if args.stage == "dense" and model.prune_decoder is not None:
        model.inherit()
    save_model(model, args.out, _provenance(args, seconds, len(data)))
    return {"out": str(args.out), "steps": args.config.steps, "seconds": round(seconds)}


def _initial_model(args: Train) -> Vltp:
    if args.init is not None:
        model = load_model(args.init)
        if args.stage == "prune" and model.prune_decoder is None:
            _add_pruned_half(model)
        return model
    if args.stage in STARTED:
        raise ValueError(
            f"--init is missing; the {args.stage} stage starts from a trained dense model"
        )
    return new_model([text for task in TASKS for text in task.phrasings], args.config.seed)


def _add_pruned_half(model: Vltp) -> None:
    """For a model whose image tokens LLaVA's attention ranks: after training a decoder does."""
    model.inherit()
    pruning = dataclasses.replace(model.config.pruning, selector="prune_decoder")
    model.config = dataclasses.replace(model.config, pruning=pruning)


def _provenance(args: Train, seconds: float, scenes: int) -> dict:
    """Licence, and one line for this stage after those of the model that it started from."""
    before = read_sources(args.init) if args.init is not None else []
    kind = "mosaics of tabletop scenes" if args.config.mosaic else "tabletop scenes"
    line = (
        f"vltp train --stage {args.stage}: {args.config.steps} steps of {args.config.batch} {kind} "
        f"out of {scenes}, {round(seconds / 60)} minutes on {platform.machine()} "
        f"({torch.get_num_threads()} threads), torch {torch.__version__}"
    )
    return {"licence": "Apache-2.0", "sources": [*before, line]}

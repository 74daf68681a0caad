"""vltp train: the dense model from scratch, then the prune decoder on top of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from torch import nn

from vltp_ros.checkpoints.model_directory import save_model, sha256
from vltp_ros.checkpoints.quantization import TrainingQuantization
from vltp_ros.cli.options import Command, DeviceOption
from vltp_ros.cli.output import ForceOption, check_training_output
from vltp_ros.cli.validation import ValidationOptions
from vltp_ros.data.scenes import TabletopDataset
from vltp_ros.network.vltp import Vltp
from vltp_ros.runtime.device import resolve_device
from vltp_ros.simulation import TASKS
from vltp_ros.training.batches import BatchSource, Source
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.crowded_batches import CrowdedSource, common_sentences
from vltp_ros.training.crowded_stages import LookingStage, ReasonerStage, TowerStage
from vltp_ros.training.loop import fit
from vltp_ros.training.new_model import new_model
from vltp_ros.training.provenance import SCENES, describe_run, identity, provenance
from vltp_ros.training.run_directory import CHECKPOINT
from vltp_ros.training.stages import AttentionStage, DenseStage, EncoderStage, PrunedStage
from vltp_ros.training.start import load_start, take_heads, take_sam

FIRST_STAGES: dict[int, dict[str, type[nn.Module]]] = {
    1: {"encoder": EncoderStage, "dense": DenseStage},
    2: {
        "encoder": EncoderStage,
        "tower": TowerStage,
        "reasoner": ReasonerStage,
        "dense": LookingStage,
    },
}
"""Edition of the scenes -> the stages that may start from a new model."""

LATER_STAGES = {"attention": AttentionStage, "prune": PrunedStage}
"""The stages that start from a trained dense model."""

TRAIN_LLAVA = ("tower", "reasoner", "dense", "attention")
"""The stages that train LLaVA's own weights, which must be whole."""


@dataclass
class Train(ValidationOptions, ForceOption, DeviceOption, Command):
    """Train on tabletop scenes; a killed run continues when the same command is given again."""

    stage: Literal["encoder", "tower", "reasoner", "dense", "attention", "prune"]
    """Part that is trained, all else frozen. encoder: the image encoder; tower: LLaVA's vision
    tower; reasoner: all of LLaVA (these two on scenes of edition 2); dense: everything but the
    pruned half; attention: LLaVA, which learns where to look; prune: the pruned half."""
    data: Path
    """Data set written by `vltp scenes`."""
    run: Path
    """Directory for the checkpoint and losses.jsonl."""
    out: Path
    """Model directory to write when done; must not hold anything yet but a card."""
    init: Path | None = None
    """Model directory to start from, which the attention and prune stages need; a new model if not
    given."""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    quantization: TrainingQuantization | None = None
    """LLaVA's weights in a stage that leaves them frozen; as the model says if not given."""
    sam: Path | None = None
    """Model directory whose dense SAM to start with, instead of that of --init or a new one."""
    heads: tuple[Path, ...] = ()
    """Runs of earlier stages whose heads for auxiliary losses to go on with; a stage's heads that
    none of them has are new."""


def run(args: Train) -> dict:
    """Train and write the model directory; ValueError for arguments that do not fit together."""
    check_training_output(args.run, args.out, args.force)
    data = TabletopDataset(args.data)
    first_stages = FIRST_STAGES[data.edition]
    if args.stage not in (*first_stages, *LATER_STAGES):
        raise ValueError(
            f"--stage is {args.stage!r} and {data.directory} has edition {data.edition}; allowed "
            f"there: {', '.join((*first_stages, *LATER_STAGES))}"
        )
    source = _source(data, args.config)
    held_out = args.held_out(data, lambda scenes: _source(scenes, args.config))
    torch.manual_seed(args.config.seed)
    model = _initial_model(args, data.edition)
    stage: nn.Module
    if args.stage in LATER_STAGES:
        stage = LATER_STAGES[args.stage](model, args.config)
    else:
        stage = first_stages[args.stage](model, args.config, source.classes, source.attributes)
    for earlier in args.heads:
        take_heads(stage, earlier)
    options = {
        "--stage": args.stage,
        "--init": identity(args.init),
        "--sam": identity(args.sam),
        "--heads": [sha256(earlier / CHECKPOINT)[:12] for earlier in args.heads],
        "--quantization": model.config.quantization,
    }
    rate = {"dense": 0.0, "prune": args.config.rates[0]}.get(args.stage)
    validation = args.validation(held_out, model, rate)
    seconds = fit(stage.train(), source, args.config, args.run, options, validation)
    if args.stage == "dense" and model.prune_decoder is not None:
        model.inherit()
    base = None if args.stage in TRAIN_LLAVA else args.init
    what = describe_run(f"train --stage {args.stage}", args.config, seconds, len(data))
    save_model(model, args.out, provenance(args.init, what, args.sam, SCENES), base=base)
    return {"out": str(args.out), "steps": args.config.steps, "seconds": round(seconds)}


def _source(data: TabletopDataset, config: TrainConfig) -> Source:
    """Return what draws batches of a data set's edition."""
    return BatchSource(data, TASKS, config) if data.edition == 1 else CrowdedSource(data, config)


def _initial_model(args: Train, edition: int) -> Vltp:
    """Load or build the model to train."""
    device = resolve_device(args.device)
    if args.sam is not None and args.stage in LATER_STAGES:
        raise ValueError(
            f"--sam is {args.sam}; the {args.stage} stage starts from a trained dense model"
        )
    if args.init is None:
        model = _new_model(args, edition).to(device)
    else:
        model = _loaded(args, args.init, device)
    if args.sam is not None:
        take_sam(model, args.sam)
    return model


def _loaded(args: Train, directory: Path, device: torch.device) -> Vltp:
    """Load the model to go on from."""
    if args.stage in TRAIN_LLAVA:
        why = f"the {args.stage} stage trains LLaVA's own weights"
        return load_start(directory, args.quantization, device, ("float32",), why)
    model = load_start(directory, args.quantization, device)
    if args.stage == "prune" and model.prune_decoder is None:
        _add_pruned_half(model)
    return model


def _new_model(args: Train, edition: int) -> Vltp:
    """Build a model for a stage that may start from one."""
    if args.stage in LATER_STAGES:
        raise ValueError(
            f"--init is missing; the {args.stage} stage starts from a trained dense model"
        )
    if args.quantization not in (None, "float32"):
        raise ValueError(
            f"--quantization is {args.quantization!r} and --init is missing; a new model is "
            "trained in float32"
        )
    if edition == 1:
        sentences = [text for task in TASKS for text in task.phrasings]
        return new_model(sentences, args.config.seed)
    return new_model(common_sentences(), args.config.seed, "crowded")


def _add_pruned_half(model: Vltp) -> None:
    """Give a model a pruned half to train; a prune decoder then ranks image tokens, not LLaVA."""
    model.inherit()
    pruning = dataclasses.replace(model.config.pruning, selector="prune_decoder")
    model.config = dataclasses.replace(model.config, pruning=pruning)

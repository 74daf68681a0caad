"""The stages of vltp train: which there are, and the model that each starts from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from vltp_ros.data.scenes import TabletopDataset
from vltp_ros.network.vltp import Vltp
from vltp_ros.processes import own_device, this_process
from vltp_ros.runtime.device import resolve_device
from vltp_ros.simulation import TASKS
from vltp_ros.training.batches import BatchSource, Source, TrainingData
from vltp_ros.training.cached_batches import stored_source
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.crowded_batches import CrowdedSource
from vltp_ros.training.crowded_stages import LookingStage, ReasonerStage, TowerStage
from vltp_ros.training.feature_cache import FeatureCache
from vltp_ros.training.new_model import new_model
from vltp_ros.training.public_batches import ExpressionSource
from vltp_ros.training.stages import AttentionStage, DenseStage, EncoderStage, PrunedStage
from vltp_ros.training.start import load_start, take_sam
from vltp_ros.training.vocabulary import sentences_of, vocabulary_after

if TYPE_CHECKING:
    from vltp_ros.cli.train import Train

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

PRUNE_ONLY = ("preset", "prune_after", "cache")
"""The options that are for the prune stage alone."""

TRAIN_LLAVA = ("tower", "reasoner", "dense", "attention")
"""The stages that train LLaVA's own weights, which must be whole."""


def check_stage(name: str, data: TrainingData, config: TrainConfig) -> None:
    """Raise ValueError for a stage that this data cannot train, or that uses not all settings."""
    if isinstance(data, TabletopDataset):
        allowed = (*FIRST_STAGES[data.edition], *LATER_STAGES)
        where = f"{data.directory} has edition {data.edition}"
    else:
        allowed, where = tuple(LATER_STAGES), "--dataset is given"
    if name not in allowed:
        raise ValueError(f"--stage is {name!r} and {where}; allowed there: {', '.join(allowed)}")
    config.check_stage(name, data.edition if isinstance(data, TabletopDataset) else None)


def new_stage(name: str, model: Vltp, source: Source) -> nn.Module:
    """Return the stage of a name that :func:`check_stage` allows."""
    if name in LATER_STAGES:
        return LATER_STAGES[name](model, source.config)
    assert isinstance(source.data, TabletopDataset)
    first = FIRST_STAGES[source.data.edition][name]
    return first(model, source.config, source.classes, source.attributes)


def new_source(data: TabletopDataset, config: TrainConfig) -> Source:
    """Return what draws batches of a data set's edition."""
    return BatchSource(data, TASKS, config) if data.edition == 1 else CrowdedSource(data, config)


def check_options(args: Train) -> None:
    """Raise ValueError for an option that has no effect in a stage."""
    for name in PRUNE_ONLY:
        value = getattr(args, name)
        if value and args.stage != "prune":
            words = " ".join(map(str, value)) if isinstance(value, tuple) else value
            raise ValueError(f"--{name.replace('_', '-')} is {words}; it is for --stage prune")


def check_cache(args: Train, source: Source) -> None:
    """Raise ValueError for stored features where each step has others."""
    if args.cache is not None and args.config.csp_selector == "random":
        raise ValueError(
            f"--csp-selector is random, drawn anew in each step, and --cache is {args.cache}; "
            "give one of them"
        )
    if args.cache is not None and isinstance(source, BatchSource):
        raise ValueError(
            f"--cache is {args.cache} and {source.data.directory} has edition 1, whose pictures "
            "are drawn anew in each step; allowed: scenes of edition 2, or --dataset"
        )


def cached_source(directory: Path, model: Vltp, source: Source) -> Source:
    """Return what draws the same with stored features, which are all there then.

    Args:
        directory: of the features.
        model: that the prune stage starts from.
        source: of scenes of edition 2 or of public data sets.

    Raises:
        ValueError: for a directory with other features.
        OSError: naming the file that cannot be written.
    """
    assert isinstance(source, CrowdedSource | ExpressionSource)
    first = model.config.pruning.prune_after[0]
    cache = FeatureCache(directory, model, source.data, first, source.config.reasoning)
    cached = stored_source(cache, source.config)
    cached.fill(this_process())
    return cached


def initial_model(args: Train, data: TrainingData) -> Vltp:
    """Load or build the model to train."""
    device = resolve_device(own_device(args.device))
    if args.stage in LATER_STAGES:
        if args.sam is not None:
            raise ValueError(
                f"--sam is {args.sam}; the {args.stage} stage starts from a trained dense model"
            )
        if args.heads:
            raise ValueError(f"--heads is {args.heads[0]}; the {args.stage} stage has no heads")
    if args.init is None:
        model = _new_model(args, data).to(device)
    else:
        model = _loaded(args, args.init, device)
    if args.sam is not None:
        take_sam(model, args.sam)
    words = vocabulary_after(model.config.words, data)
    model.config = dataclasses.replace(model.config, words=words)
    return model


def _loaded(args: Train, directory: Path, device: torch.device) -> Vltp:
    """Load the model to go on from."""
    if args.stage in TRAIN_LLAVA:
        why = f"the {args.stage} stage trains LLaVA's own weights"
        return load_start(directory, args.quantization, device, ("float32",), why)
    model = load_start(directory, args.quantization, device)
    if args.stage == "prune" and model.prune_decoder is None:
        _add_pruned_half(model)
    if args.prune_after:
        _move_stages(model, args.prune_after, args.config.rates[0])
    return model


def _new_model(args: Train, data: TrainingData) -> Vltp:
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
    if isinstance(data, TabletopDataset) and data.edition == 1:
        return new_model(sentences_of(1), args.config.seed)
    return new_model(sentences_of(2), args.config.seed, "crowded")


def _add_pruned_half(model: Vltp) -> None:
    """Give a model a pruned half to train; a prune decoder then ranks image tokens, not LLaVA."""
    model.inherit()
    pruning = dataclasses.replace(model.config.pruning, selector="prune_decoder")
    model.config = dataclasses.replace(model.config, pruning=pruning)


def _move_stages(model: Vltp, prune_after: tuple[int, ...], rate: float) -> None:
    """Select tokens after other layers, all at one rate; ValueError for layers that are none."""
    try:
        model.encoder(prune_after)
    except ValueError as error:
        raise ValueError(str(error).replace("prune_after", "--prune-after")) from error
    rates = (rate,) * len(prune_after)
    pruning = dataclasses.replace(model.config.pruning, prune_after=prune_after, rates=rates)
    model.config = dataclasses.replace(model.config, pruning=pruning)

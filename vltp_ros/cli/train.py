"""vltp train: the dense model from scratch, then the prune decoder on top of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from vltp_ros.cli.options import Command, DeviceOption
from vltp_ros.cli.output import ForceOption, check_training_output
from vltp_ros.cli.training_data import TrainingDataOptions
from vltp_ros.network.config import TrainingQuantization
from vltp_ros.training.config import TrainConfig

if TYPE_CHECKING:
    from vltp_ros.data.scenes import TabletopDataset
    from vltp_ros.training.batches import Source


@dataclass
class Train(TrainingDataOptions, ForceOption, DeviceOption, Command):
    """Train on tabletop scenes, or in the later stages on public data sets.

    A killed run continues when the same command is given again.
    """

    stage: Literal["encoder", "tower", "reasoner", "dense", "attention", "prune"]
    """Part that is trained, all else frozen. encoder: the image encoder; tower: LLaVA's vision
    tower; reasoner: all of LLaVA (these two on scenes of edition 2); dense: everything but the
    pruned half; attention: LLaVA, which learns where to look; prune: the pruned half. Only the last
    two train on public data sets."""
    data: Path
    """Data set written by `vltp scenes`; with --dataset: folder of the public data sets."""
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
    prune_after: tuple[int, ...] = ()
    """1-based global-attention layers after which the prune stage selects tokens; those of --init
    if not given. The trained model has them, each with the first of --rates."""
    cache: Path | None = None
    """Directory for what the model to start from computes of each image and question, which is then
    stored once and read in each step, by any run; for the prune stage, with --dataset or scenes of
    edition 2, whose pictures are not varied then. docs/reproduce.md says how much disk it takes."""
    heads: tuple[Path, ...] = ()
    """Runs of earlier stages whose heads for auxiliary losses to go on with; a stage's heads that
    none of them has are new."""


def run(args: Train) -> dict | None:
    """Train and write the model directory; ValueError for arguments that do not fit together.

    Of several processes that a launcher starts, only the first writes it and returns what it did.
    """
    import torch

    from vltp_ros.checkpoints.model_directory import save_model, sha256
    from vltp_ros.cli.stages import (
        TRAIN_LLAVA,
        cached_source,
        check_cache,
        check_options,
        check_stage,
        initial_model,
        new_source,
        new_stage,
    )
    from vltp_ros.processes import this_process
    from vltp_ros.training.loop import fit
    from vltp_ros.training.provenance import describe_run, identity, provenance
    from vltp_ros.training.run_directory import CHECKPOINT
    from vltp_ros.training.start import take_heads

    check_training_output(args.run, args.out, args.force)
    check_options(args)

    def source_of(scenes: TabletopDataset) -> Source:
        check_stage(args.stage, scenes, args.config)  # before what batches need of scenes
        return new_source(scenes, args.config)

    source, held_out = args.sources(args.data, args.config, source_of)
    if args.dataset:
        check_stage(args.stage, source.data, args.config)
    check_cache(args, source)
    torch.manual_seed(args.config.seed)
    model = initial_model(args, source.data)
    if args.cache is not None:
        source = cached_source(args.cache, model, source)
    stage = new_stage(args.stage, model, source)
    for earlier in args.heads:
        take_heads(stage, earlier)
    options = {
        "--stage": args.stage,
        "--init": identity(args.init),
        "--sam": identity(args.sam),
        "--heads": [sha256(earlier / CHECKPOINT)[:12] for earlier in args.heads],
        "--quantization": model.config.quantization,
        "--prune-after": model.config.pruning.prune_after if args.stage == "prune" else None,
        # Images of public data sets are drawn and seen alike without a cache; scenes are not.
        "--cache": None if args.cache is None or args.dataset else "given",
    }
    rate = {"dense": 0.0, "prune": args.config.rates[0]}.get(args.stage)
    validation = args.validation(held_out, model, rate)
    seconds = fit(stage.train(), source, args.config, args.run, options, validation)
    if not this_process().is_first:
        return None
    kept = args.kept(stage, args.run)
    if args.stage == "dense" and model.prune_decoder is not None:
        model.inherit()
    base = None if args.stage in TRAIN_LLAVA else args.init
    what = describe_run(f"train --stage {args.stage}", args.config, seconds, source.data)
    about = provenance(args.init, what + kept, args.sam, args.trained_on)
    save_model(model, args.out, about, base=base)
    return {"out": str(args.out), "steps": args.config.steps, "seconds": round(seconds)}

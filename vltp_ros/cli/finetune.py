"""vltp finetune: LoRA adapters on LLaVA, whose own weights may be quantised (QLoRA)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from vltp_ros.checkpoints.lora import LoraConfig
from vltp_ros.cli.options import Command, DeviceOption
from vltp_ros.cli.output import ForceOption, check_training_output
from vltp_ros.cli.training_data import TrainingDataOptions
from vltp_ros.network.config import TrainingQuantization
from vltp_ros.training.config import FINETUNING, TrainConfig


@dataclass
class Finetune(TrainingDataOptions, ForceOption, DeviceOption, Command):
    """Train LoRA adapters on LLaVA, with <SEG> projection and mask decoder.

    On tabletop scenes, or with --dataset on public data sets. The defaults are the paper's
    schedule. A killed run continues when the same command is given again.
    """

    init: Path
    """Model directory to start from; LLaVA's own weights stay as they are."""
    data: Path
    """Data set written by `vltp scenes`; with --dataset: folder of the public data sets."""
    run: Path
    """Directory for the checkpoint and losses.jsonl."""
    out: Path
    """Model directory to write when done, with the adapters in a folder of their own; must not hold
    anything yet but a card."""
    quantization: TrainingQuantization | None = None
    """LLaVA's frozen weights: float32, bfloat16 or nf4 (QLoRA); as the model says if not given."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = FINETUNING


def run(args: Finetune) -> dict | None:
    """Train and write the model directory; ValueError for a model that is no such start.

    Of several processes that a launcher starts, only the first writes it and returns what it did.
    """
    import torch

    from vltp_ros.checkpoints.adapters import add_adapter
    from vltp_ros.checkpoints.model_directory import save_model
    from vltp_ros.processes import own_device, this_process
    from vltp_ros.runtime.device import resolve_device
    from vltp_ros.simulation import TASKS
    from vltp_ros.training.batches import BatchSource
    from vltp_ros.training.loop import fit
    from vltp_ros.training.provenance import describe_run, identity, provenance
    from vltp_ros.training.run_directory import options_of
    from vltp_ros.training.stages import LoraStage
    from vltp_ros.training.start import load_start
    from vltp_ros.training.vocabulary import vocabulary_after

    check_training_output(args.run, args.out, args.force)
    config = args.config
    source, held_out = args.sources(
        args.data, config, lambda scenes: BatchSource(scenes, TASKS, config)
    )
    torch.manual_seed(config.seed)
    why = "a new one would start from other weights"
    device = resolve_device(own_device(args.device))
    model = load_start(args.init, args.quantization, device, no_adapter=why)
    words = vocabulary_after(model.config.words, source.data)
    model.config = replace(model.config, words=words)
    add_adapter(model.reasoner.llava, args.lora)
    options = {
        "--init": identity(args.init),
        "--quantization": model.config.quantization,
        **options_of(args.lora, "--lora."),
    }
    validation = args.validation(held_out, model, 0.0)
    stage = LoraStage(model, config).train()
    seconds = fit(stage, source, config, args.run, options, validation)
    if not this_process().is_first:
        return None
    kept = args.kept(stage, args.run)
    if model.prune_decoder is not None:
        model.inherit()
    what = describe_run("finetune", config, seconds, source.data)
    line = f"{what}; LoRA of rank {args.lora.rank}{kept}"
    about = provenance(args.init, line, trained_on=args.trained_on)
    save_model(model, args.out, about, base=args.init)
    return {"out": str(args.out), "steps": config.steps, "seconds": round(seconds)}

"""The model that a training starts from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from vltp_ros.checkpoints.adapters import ADAPTER_FILE
from vltp_ros.checkpoints.model_directory import load_model, read_description
from vltp_ros.network.config import TRAINING_QUANTIZATIONS, Quantization
from vltp_ros.network.vltp import Vltp
from vltp_ros.training.run_directory import CHECKPOINT, read_checkpoint

SAM_PARTS = ("image_encoder", "prompt_encoder", "mask_decoder")


def take_sam(model: Vltp, directory: Path) -> None:
    """Give a new model the dense SAM of a trained one, whatever LLaVA that has.

    Raises:
        ValueError: if SAM has other sizes there.
    """
    config, _ = read_description(directory)
    for part in ("encoder", "mask_decoder"):
        if getattr(config, part) != getattr(model.config, part):
            raise ValueError(
                f"{directory / 'model.yaml'}: {part} is {getattr(config, part)}; the model to "
                f"train has {getattr(model.config, part)}"
            )
    trained = load_model(directory)
    for name in SAM_PARTS:
        model.get_submodule(name).load_state_dict(trained.get_submodule(name).state_dict())


def take_heads(stage: nn.Module, run: Path) -> None:
    """Give a stage those heads of auxiliary losses that an earlier run has trained.

    They are in no model directory, and heads that know nothing undo what was learnt under them.

    Raises:
        ValueError: for a run without a checkpoint, or of which the stage has no head.
    """
    path = run / CHECKPOINT
    if not path.is_file():
        raise ValueError(f"{path} does not exist; --heads is the --run of an earlier training")
    saved = read_checkpoint(path)["stage"]
    own = {name: p.shape for name, p in stage.named_parameters() if not name.startswith("model.")}
    heads = {name: saved[name] for name in own if name in saved and own[name] == saved[name].shape}
    if not heads:
        raise ValueError(f"{path} has none of {', '.join(own) or 'its heads, for there are none'}")
    stage.load_state_dict(heads, strict=False)


def load_start(
    directory: Path,
    quantization: Quantization | None,
    device: torch.device,
    allowed: Sequence[str] = TRAINING_QUANTIZATIONS,
    no_adapter: str = "",
) -> Vltp:
    """Load a model to train further.

    Args:
        directory: the model directory.
        quantization: of LLaVA; None: as ``model.yaml`` says.
        device: where the model is trained.
        allowed: quantizations.
        no_adapter: why the model must have no adapter; empty: it may have one.

    Raises:
        ValueError: for a model that is no such start.
    """
    config, files = read_description(directory)
    origin = "--quantization" if quantization else f"{directory / 'model.yaml'}: quantization"
    chosen = quantization or config.quantization
    if chosen not in allowed:
        raise ValueError(f"{origin} is {chosen!r}; allowed here: {', '.join(allowed)}")
    if no_adapter and ADAPTER_FILE in files:
        raise ValueError(f"{directory} has an adapter and {no_adapter}; vltp merge it first")
    return load_model(directory, device, chosen)

"""What a model directory says of where its model comes from."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import torch

from vltp_ros.checkpoints.golden import FOLDER
from vltp_ros.checkpoints.model_directory import read_description, read_provenance
from vltp_ros.data.expressions import ExpressionImages
from vltp_ros.training.batches import TrainingData
from vltp_ros.training.config import TrainConfig

SCENES = "simulated tabletop scenes"
"""What ``trained_on`` says of scenes; of public data sets it says the names."""


def provenance(
    start: Path | None, line: str, sam: Path | None = None, trained_on: str | None = None
) -> dict[str, Any]:
    """Return the licence and sources of a model made from others, and what it was trained on.

    The latter names all data that is known, and is left out where scenes might not be all.

    Args:
        start: directory of the model that it goes on from; None: there is none.
        line: what was done, which comes after the other models' sources.
        sam: directory of the model whose SAM it starts with instead; None: there is none.
        trained_on: what it then learnt from; None: nothing.
    """
    new = {"licence": "Apache-2.0", "sources": []}
    before = new if start is None else read_provenance(start)
    given = [] if sam is None else [f"SAM: {one}" for one in read_provenance(sam)["sources"]]
    earlier = [read_provenance(one).get("trained_on") for one in (start, sam) if one is not None]
    data = _learnt_from([*earlier, *([trained_on] if trained_on else [])])
    return {
        "licence": before["licence"],
        "sources": [*before["sources"], *given, line],
        **({"trained_on": data} if data else {}),
    }


def _learnt_from(trainings: list[str | None]) -> str:
    """Return what a model is trained on, scenes last; "" where scenes might not be all.

    Args:
        trainings: what each of its parts is trained on; None: it is not known.
    """
    names = dict.fromkeys(name for data in trainings if data for name in data.split(", "))
    photographs = [name for name in names if name != SCENES]
    if not photographs and None in trainings:
        return ""
    return ", ".join([*photographs, *([SCENES] if SCENES in names else [])])


def identity(directory: Path | None) -> str | None:
    """Return what tells a model's weights from others: its name and a digest; None for none."""
    if directory is None:
        return None
    config, checksums = read_description(directory)
    weights = {
        file: checksum for file, checksum in checksums.items() if not file.startswith(FOLDER)
    }
    digest = hashlib.sha256(json.dumps(weights, sort_keys=True).encode()).hexdigest()[:12]
    return f"{config.name} ({digest})"


def describe_run(command: str, config: TrainConfig, seconds: float, data: TrainingData) -> str:
    """Return in one line what a training was, and where it ran.

    Args:
        command: of ``vltp``.
        config: settings of the run.
        seconds: time that it took.
        data: what it was on.
    """
    if isinstance(data, ExpressionImages):
        kind = f"images of {', '.join(data.names)}"
    else:
        kind = "mosaics of tabletop scenes" if config.mosaic else "tabletop scenes"
    return (
        f"vltp {command}: {config.steps} steps of {config.batch} {kind} out of {len(data)}, "
        f"{round(seconds / 60)} minutes on {platform.machine()} ({torch.get_num_threads()} "
        f"threads), torch {torch.__version__}"
    )

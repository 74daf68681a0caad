"""A model's golden answer: a picture, a task and the mask that the model drew, beside its weights.

Whoever loads the model asks it again: another answer means that weights, device or installation are
not what they were, which nothing else would tell.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vltp_ros.checkpoints.errors import ModelError
from vltp_ros.checkpoints.text_files import read_yaml, write_yaml

FOLDER = "golden"
IMAGE, MASK = f"{FOLDER}/image.png", f"{FOLDER}/mask.png"


@dataclass(frozen=True)
class Golden:
    """A task on a picture, and its answer."""

    task: str
    image: np.ndarray  # uint8 [H, W, 3] RGB
    mask: np.ndarray  # bool [H, W]


def read_golden(directory: Path) -> Golden | None:
    """Return a model directory's golden answer; None where it has none.

    Raises:
        ModelError: where ``model.yaml`` names one that is not there or makes no sense.
    """
    named = read_yaml(directory / "model.yaml").get(FOLDER)
    if named is None:
        return None
    task = named.get("task") if isinstance(named, dict) else None
    image = cv2.imread(str(directory / IMAGE), cv2.IMREAD_COLOR)
    mask = cv2.imread(str(directory / MASK), cv2.IMREAD_GRAYSCALE)
    if not isinstance(task, str) or image is None or mask is None or mask.shape != image.shape[:2]:
        raise ModelError(
            f"{directory / 'model.yaml'}: {FOLDER} is {named!r}; it needs a task, and {IMAGE} and "
            f"{MASK} of one size beside it"
        )
    return Golden(task, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), mask > 0)


def write_golden(directory: Path, golden: Golden) -> None:
    """Put a golden answer into a model directory, in place of the one that it has."""
    (directory / FOLDER).mkdir(exist_ok=True)
    pictures = {
        IMAGE: cv2.cvtColor(golden.image, cv2.COLOR_RGB2BGR),
        MASK: golden.mask.astype(np.uint8) * np.uint8(255),
    }
    path = directory / "model.yaml"
    description = read_yaml(path)
    description[FOLDER] = {"task": golden.task}
    for name, pixels in pictures.items():
        content = cv2.imencode(".png", pixels)[1].tobytes()
        (directory / name).write_bytes(content)
        description["sha256"][name] = hashlib.sha256(content).hexdigest()
    write_yaml(path, description)

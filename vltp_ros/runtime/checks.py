"""Checks of the images and tasks that a session is given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

MAX_TASK_CHARACTERS = 1000

MAX_MASK_PIXELS = 2**28
"""Of all masks of an image together, one byte each: 32 tasks at 3840 x 2160."""


class NotFiniteError(RuntimeError):
    """The network computed NaN or infinity for an image, so that what it draws means nothing."""


def check_image(image: np.ndarray) -> None:
    """Raise ValueError unless ``image`` is uint8 [H, W, 3] with H, W > 0."""
    shape, kind = getattr(image, "shape", None), getattr(image, "dtype", type(image).__name__)
    if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or kind != np.uint8:
        raise ValueError(f"image is {kind} {shape}; allowed: uint8 (height, width, 3), not empty")


def check_request(image: np.ndarray, tasks: Sequence[str]) -> list[str]:
    """Return the tasks as :func:`check_task` does; ValueError for what cannot be answered."""
    check_image(image)
    if isinstance(tasks, str):  # its letters would be taken for tasks
        raise ValueError(f"tasks is the string {tasks[:40]!r}; it must be a list of sentences")
    lines = [check_task(task) for task in tasks]
    check_size(image, len(lines))
    return lines


def check_finite(measures: np.ndarray, finite_scores: Iterable[np.ndarray], model: str) -> None:
    """Raise NotFiniteError naming the model unless what it computed of an image is finite.

    Args:
        measures: of the masks, float.
        finite_scores: whether the scores of each stage are finite.
        model: name and precision.
    """
    if not (np.isfinite(measures).all() and all(finite_scores)):
        raise NotFiniteError(
            f"{model} computed values that are not finite for this image; no mask can be trusted. "
            "Another precision may help"
        )


def check_size(image: np.ndarray, tasks: int) -> None:
    """Raise ValueError where the masks of so many tasks on an image would take too much memory."""
    height, width = image.shape[:2]
    if height * width * tasks > MAX_MASK_PIXELS:
        raise ValueError(
            f"an image of {width}x{height} with {tasks} tasks has {height * width * tasks:.2g} "
            f"mask pixels; at most {MAX_MASK_PIXELS:.2g} are allowed: scale it down, or ask for "
            "fewer tasks at once"
        )


def check_task(task: str) -> str:
    """Return the task in one line, without surrounding space.

    Raises ValueError if it is empty, too long, or holds characters that control a terminal.
    """
    if not isinstance(task, str) or not task.strip():
        raise ValueError(f"task is {task!r}; it must be a sentence")
    if len(task) > MAX_TASK_CHARACTERS:
        raise ValueError(
            f"task has {len(task)} characters; at most {MAX_TASK_CHARACTERS} are allowed "
            f"(it starts {task[:40]!r})"
        )
    line = " ".join(task.split())
    if not line.isprintable():
        raise ValueError(f"task is {line[:80]!r}; it must not hold control characters")
    return line

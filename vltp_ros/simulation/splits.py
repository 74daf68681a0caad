"""Splits and editions of scenes, and the random numbers that all in a scene follows from."""

from collections.abc import Sequence
from typing import Literal, TypeVar, get_args

import numpy as np

Split = Literal["train", "val", "test", "uncommon"]
T = TypeVar("T")
SPLITS = get_args(Split)
"""Which scenes: "uncommon" has looks and phrasings that the others never show."""

EditionNumber = Literal[1, 2]
"""1: a few objects, tasks that a kind serves; 2: crowded, with tasks that depend on the image."""


def generator(seed: int, split: Split, stream: int) -> np.random.Generator:
    """Return a random generator of its own for every split, seed and use (stream).

    Raises:
        ValueError: for an unknown split or a negative seed.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
    if seed < 0:
        raise ValueError(f"seed {seed} is negative; seeds start at 0")
    return np.random.default_rng(np.random.SeedSequence((SPLITS.index(split), seed, stream)))


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """Draw one of the choices, each as likely as the others."""
    return choices[int(rng.integers(len(choices)))]

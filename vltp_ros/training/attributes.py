"""What can be said of the objects of crowded scenes, as targets to train on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vltp_ros.network.preprocessing import fitted_size
from vltp_ros.simulation.crowded.answers import STATE_GROUPS
from vltp_ros.simulation.crowded.appearance import NAMED
from vltp_ros.simulation.crowded.forms import FORMS, KINDS, NO_KIND

HOLDING = "holding"
"""State of an empty vessel that something lies in."""

STATES = (*STATE_GROUPS, HOLDING)
NOTHING = "nothing"
ATTRIBUTES = (*KINDS, NO_KIND, *STATES, *NAMED, NOTHING)
"""Kinds, no kind for distractors, states, words for colours, and what is said of no object."""


def _looks() -> tuple[tuple[str, str], ...]:
    """Return kind and state of whatever looks different, "" for the states of what has none."""
    looks = []
    for kind in KINDS:
        states = dict.fromkeys(state for form in FORMS[kind].values() for state in form)
        looks += [(kind, state) for state in (*states, *((HOLDING,) if "empty" in states else ()))]
    return (*looks, (NO_KIND, ""))


LOOKS = _looks()
"""What the image encoder tells apart at each pixel."""

SAMPLES = 8
"""Labels are looked at this often along each side of a cell."""


def look_of(thing: Mapping) -> int:
    """Return the number of an object's look, from 1; 0 stands for no object."""
    return LOOKS.index((thing["kind"] or NO_KIND, thing["state"] or "")) + 1


def attributes_of(thing: Mapping | None) -> np.ndarray:
    """Return what is said of an object in a data set's words, or of None: bool [ATTRIBUTES]."""
    if thing is None:
        said = {NOTHING}
    else:
        named = {word for word, colours in NAMED.items() if thing["colour"] in colours}
        said = {thing["kind"] or NO_KIND, thing["state"] or "", *named}
    return np.array([attribute in said for attribute in ATTRIBUTES])


def coverage(labels: Tensor, objects: int, grid: int, centred: bool) -> Tensor:
    """Return how much of each cell of a padded square an object covers.

    Args:
        labels: uint8 [B, H, W] over the image: 0 = no object, i = the i-th object.
        objects: M, their largest number in an image.
        grid: cells along each side.
        centred: as LLaVA's square is, not padded at the bottom and right as SAM's.

    Returns:
        float [B, M + 1, grid, grid], 0..1, of each cell 1 in all; padding shows no object.
    """
    side = grid * SAMPLES
    rows, columns = fitted_size(labels.shape[-2], labels.shape[-1], side)
    scaled = F.interpolate(labels.unsqueeze(1).float(), (rows, columns)).squeeze(1).long()
    top, left = ((side - rows) // 2, (side - columns) // 2) if centred else (0, 0)
    square = F.pad(scaled, (left, side - columns - left, top, side - rows - top))
    count = objects + 1
    cells = torch.arange(len(labels) * grid**2, device=labels.device).view(-1, grid, 1, grid, 1)
    numbered = cells * count + square.unflatten(1, (grid, SAMPLES)).unflatten(3, (grid, SAMPLES))
    samples = torch.bincount(numbered.flatten(), minlength=cells.numel() * count)
    return samples.view(-1, grid, grid, count).permute(0, 3, 1, 2) / SAMPLES**2


def union(answers: Tensor, attributes: Tensor) -> Tensor:
    """Return what is said of any object of an answer.

    Args:
        answers: bool [B, Q, M + 1], the objects that answer each of Q questions.
        attributes: float [B, M + 1, A], 0 or 1.

    Returns:
        float [B, Q, A], 0 or 1.
    """
    return torch.einsum("bqm,bma->bqa", answers.float(), attributes).clamp(max=1)

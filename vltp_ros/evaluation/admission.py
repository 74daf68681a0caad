"""How well one can answer who knows only the sentence: the best constant rule for each task.

A rule names what is always answered: nothing, all objects of some kinds, or every object. It is
chosen for a task, whose phrasings all mean the same, on one data set, and judged on another. That
nothing serves cannot be told from a sentence that something serves elsewhere: a family's figure
counts such queries among those of their task, and "E" stands for all tasks that have some.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Asked:
    """One query with the visible pixels of each kind; the last entry is that of distractors."""

    task: str
    family: str  # of the task, whether or not something serves
    kinds: np.ndarray  # float [kinds + 1], pixels of the scene's objects
    serving: np.ndarray  # float [kinds + 1], pixels of those that serve


@dataclass(frozen=True)
class Constant:
    """How well the best constant rules do for one family."""

    family: str
    giou: float
    queries: int


def admission(chosen_on: Iterable[Asked], judged_on: Iterable[Asked]) -> list[Constant]:
    """Choose a rule for each task, and measure these rules for each family.

    Args:
        chosen_on: queries of the training scenes.
        judged_on: queries of other scenes; a task that chosen_on lacks is answered by nothing.

    Returns:
        One entry for each family in judged_on, in alphabetical order.
    """
    rules = {task: best_rule(queries) for task, queries in _by(chosen_on, "task").items()}
    judged = list(judged_on)
    families = _by(judged, "family")
    unserved = {one.task for one in judged if not one.serving.any()}
    if unserved:
        families["E"] = [one for one in judged if one.task in unserved]
    rows = []
    for family, queries in sorted(families.items()):
        nothing = np.zeros(len(queries[0].kinds), dtype=bool)
        scores = [float(ious(rules.get(one.task, nothing), [one])[0]) for one in queries]
        rows.append(Constant(family, float(np.mean(scores)), len(queries)))
    return rows


def best_rule(queries: list[Asked]) -> np.ndarray:
    """Return the kinds to answer always, bool [kinds + 1], with the best mean IoU on queries.

    Nothing and everything are starting points; from each, kinds are added or taken out one by one
    as long as this helps.
    """
    size = len(queries[0].kinds)
    best, best_score = np.zeros(size, dtype=bool), -1.0
    for start in (np.zeros(size, dtype=bool), np.ones(size, dtype=bool)):
        rule, score = start, float(ious(start, queries).mean())
        while True:
            flipped = rule ^ np.eye(size, dtype=bool)
            scores = [float(ious(one, queries).mean()) for one in flipped]
            step = int(np.argmax(scores))
            if scores[step] <= score:
                break
            rule, score = flipped[step], scores[step]
        if score > best_score:
            best, best_score = rule, score
    return best


def ious(rule: np.ndarray, queries: list[Asked]) -> np.ndarray:
    """Return the IoU [Q] of a rule with each answer; 1 where both are empty."""
    kinds = np.stack([one.kinds for one in queries])
    serving = np.stack([one.serving for one in queries])
    intersection = (serving * rule).sum(1)
    union = (kinds * rule).sum(1) + (serving * ~rule).sum(1)
    return np.where(union > 0, intersection / np.maximum(union, 1), 1.0)


def _by(queries: Iterable[Asked], field: str) -> dict[str, list[Asked]]:
    """Group queries by their task or family."""
    groups: defaultdict[str, list[Asked]] = defaultdict(list)
    for one in queries:
        groups[getattr(one, field)].append(one)
    return dict(groups)

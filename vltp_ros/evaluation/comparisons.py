"""What docs/benchmarks/hypotheses.md expects of the rows, tested on what was measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Hypothesis:
    """An order of two rows, or a bound on what one costs against another."""

    name: str
    table: str
    row: str
    """Its label."""
    against: str
    margin: float
    """Points of 0.01 gIoU."""
    kind: Literal["better", "costs at most", "no better"] = "better"
    """better: by the margin and by more than two standard errors; costs at most: the upper end of
    the loss, mean + 2 standard errors, is no larger than the margin; no better: by no more than the
    margin and two standard errors."""
    against_table: str = ""
    """Of the other row; empty: the same table."""


HYPOTHESES = (
    Hypothesis("prune decoder alone beats direct", "3", "prune decoder alone", "direct", 2),
    Hypothesis("both beat the prune decoder alone", "3", "both", "prune decoder alone", 2),
    Hypothesis("50 % costs at most a point", "3", "both", "dense", 1, "costs at most"),
    Hypothesis("80 % costs at most 2.5 points", "6", "two stages at 80%", "dense", 2.5,
               "costs at most", "3"),
    Hypothesis("three stages are no better than two of equal cost", "5",
               "after 1/4, 1/2, 3/4 at 20%, 40%, 40%", "after 1/2, 3/4 at 50%, 50%", 0.5,
               "no better"),
    *(Hypothesis(f"reactivation pays at {rate}", "6", f"two stages at {rate}",
                 f"one stage at {rate}", 0.5) for rate in ("70%", "80%")),
    Hypothesis("reactivation alone pays", "6", "two stages at 80%",
               "two stages at 80%, none return", 0.5),
    *(Hypothesis(f"VLTP beats {rival}", "7", f"VLTP beside {rival}", rival, 0)
      for rival in ("random", "CTS", "DToP", "SViT")),
    Hypothesis("ranked by another task: no better than SViT", "7", "ranked by another task",
               "SViT", 0, "no better"),
    *(Hypothesis(f"{rate} trained on beats untrained", "4", f"{rate} trained on",
                 f"{rate} untrained", margin) for rate, margin in (("80%", 1), ("90%", 3))),
    *(Hypothesis(f"preset {name} costs at most {margin}", "csp", f"preset {name}", "dense", margin,
                 "costs at most", "3") for name, margin in (("65", 1), ("70", 2))),
    *(Hypothesis(f"preset {name} beats {rival} alone", "csp", f"preset {name}",
                 f"{rival} alone, as {name}", 0)
      for name in ("65", "70") for rival in ("pruning", "clustering")),
)  # fmt: skip


def compare(rows: Sequence[dict]) -> list[dict]:
    """Test each of HYPOTHESES whose rows were measured.

    Differences are paired by scene. Their standard error is sqrt(s^2 / n + v / k): s over n scenes,
    v the variance between k seeds; of rows with one seed, v is that of Table 7's VLTP.

    Args:
        rows: as :meth:`RowRunner.run` returns them, all on the same scenes.

    Returns:
        The fields of each hypothesis with ``difference`` and ``error`` in points, and ``holds``.
    """
    measured: defaultdict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    for row in rows:
        measured[row["table"], row["label"]].append(100 * np.array(row["scenes"]))
    between = _between_seeds(measured)
    answers = []
    for hypothesis in HYPOTHESES:
        ours = measured.get((hypothesis.table, hypothesis.row))
        other = hypothesis.against_table or ("3" if hypothesis.against == "dense" else "")
        theirs = measured.get((other or hypothesis.table, hypothesis.against))
        if not ours or not theirs:
            continue
        difference, error = _difference(ours, theirs, between)
        holds = _holds(hypothesis, difference, error)
        measures = {"difference": difference, "error": error, "holds": holds}
        answers.append({**asdict(hypothesis), **measures})
    return answers


def _holds(hypothesis: Hypothesis, difference: float, error: float) -> bool:
    """Judge a difference and its standard error, in points."""
    if hypothesis.kind == "better":
        return difference >= hypothesis.margin and difference > 2 * error
    if hypothesis.kind == "costs at most":
        return 2 * error - difference <= hypothesis.margin
    return difference <= hypothesis.margin + 2 * error


def _difference(
    ours: list[np.ndarray], theirs: list[np.ndarray], between: float
) -> tuple[float, float]:
    """Return the mean difference and its standard error, over scenes and seeds."""
    seeds = min(len(ours), len(theirs))
    if seeds > 1:
        pairs = np.stack(ours[:seeds]) - np.stack(theirs[:seeds])
        between = float(pairs.mean(1).var(ddof=1))
        scenes = pairs.mean(0)
    else:
        scenes = np.mean(ours, axis=0) - np.mean(theirs, axis=0)
    variance = scenes.var(ddof=1) / len(scenes) + between / seeds
    return float(scenes.mean()), float(variance**0.5)


def _between_seeds(measured: dict[tuple[str, str], list[np.ndarray]]) -> float:
    """Return the variance of Table 7's VLTP between its seeds, points squared; 0 if unknown."""
    variances = [
        np.var([seed.mean() for seed in seeds], ddof=1)
        for (table, label), seeds in measured.items()
        if table == "7" and label.startswith("VLTP") and len(seeds) > 1
    ]
    return float(np.mean(variances)) if variances else 0.0

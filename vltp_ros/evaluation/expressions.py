"""Accuracy, cost and time of a model on the expressions of a public data set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vltp_ros.data.entries import DataError
from vltp_ros.data.registry import Dataset
from vltp_ros.data.samples import Sample
from vltp_ros.evaluation.metrics import MaskMetrics
from vltp_ros.evaluation.tabletop import Setting, answer, check_settings, mean_cost, mean_rate
from vltp_ros.progress import progress_bar
from vltp_ros.runtime.session import Session
from vltp_ros.types import Segmentation


@dataclass
class Results:
    """What is measured of a setting."""

    metrics: MaskMetrics = field(default_factory=MaskMetrics)
    by_task: defaultdict[str, MaskMetrics] = field(default_factory=lambda: defaultdict(MaskMetrics))
    tokens: list[tuple[int, ...]] = field(default_factory=list)
    times_ms: list[float] = field(default_factory=list)

    def add(self, sample: Sample, answered: Segmentation) -> None:
        """Count an answer."""
        everything = [self.metrics, *([self.by_task[sample.task]] if sample.task else ())]
        for metrics in everything:
            metrics.add(answered.mask, sample.mask, sample.ignored)
        self.tokens.append(answered.tokens)
        self.times_ms.append(sum(answered.times_ms.values()))

    def accuracy(self) -> dict:
        """Return ``{"giou", "giou_error", "ciou", "task_giou", "task_ciou", "tasks", "count"}``.

        ``task_giou`` and ``task_ciou`` are means over the tasks, None where there are none; the
        latter is what VLTP's authors call the mIoU of COCO-Tasks.
        """
        tasks = self.by_task.values()
        return {
            "giou": self.metrics.giou,
            "giou_error": self.metrics.giou_error,
            "ciou": self.metrics.ciou,
            "task_giou": float(np.mean([task.giou for task in tasks])) if tasks else None,
            "task_ciou": float(np.mean([task.ciou for task in tasks])) if tasks else None,
            "tasks": [
                {"task": name, "giou": task.giou, "ciou": task.ciou, "count": task.count}
                for name, task in self.by_task.items()
            ],
            "count": self.metrics.count,
        }


def evaluate_dataset(
    session: Session,
    dataset: Dataset,
    settings: Sequence[Setting],
    count: int | None = None,
    skip_bad: bool = False,
    progress: bool = True,
) -> dict:
    """Measure a model in some settings, all on the same expressions.

    Args:
        session: its stages are used, its rates are replaced.
        dataset: whose expressions are asked, one at a time.
        settings: what to compare.
        count: number of expressions, spread evenly over the data set; None: all of them.
        skip_bad: leave out what cannot be read, rather than end.
        progress: show a bar on stderr.

    Returns:
        ``{"rows", "skipped"}``: rows of ``{"split", "selector", "rate", "csp", "gmacs",
        "median_ms"}`` and :meth:`Results.accuracy`, the time being from image to mask; and
        ``{"count", "problems"}``, how many entries were left out and why.

    Raises:
        ValueError: for an unknown selector, or a count that the data set does not have.
        DataError: for an image that cannot be read, unless ``skip_bad``, or if none can.
    """
    check_settings(settings)
    total = len(dataset.entries)
    count = total if count is None else count
    if not 1 <= count <= total:
        raise ValueError(f"count is {count}; {dataset.name} has {total} expressions")
    results = [Results() for _ in settings]
    problems = [str(problem) for problem in dataset.problems]
    skipped = dataset.left_out
    chosen = [dataset.entries[number * total // count] for number in range(count)]
    for number, entry in enumerate(progress_bar(chosen, shown=progress, unit="expression")):
        try:
            sample = entry.sample()
        except DataError as error:
            if not skip_bad:
                raise
            problems.append(str(error))
            skipped += 1
            continue
        for setting, result in zip(settings, results, strict=True):
            result.add(sample, answer(session, setting, sample, number))
    if skipped == dataset.left_out + count:
        raise DataError(dataset.name, f"none of {count} images can be read; first: {problems[-1]}")
    rows = [_row(session, dataset.name, *pair) for pair in zip(settings, results, strict=True)]
    return {"rows": rows, "skipped": {"count": skipped, "problems": list(dict.fromkeys(problems))}}


def _row(session: Session, name: str, setting: Setting, result: Results) -> dict:
    """Return the row of a setting."""
    adaptive = setting.selector == "adaptive"
    return {
        "split": name,
        "selector": setting.selector,
        "rate": mean_rate(session, result.tokens) if adaptive else setting.rate,
        "csp": setting.csp,
        **result.accuracy(),
        "gmacs": mean_cost(session, setting.selector, result.tokens),
        "median_ms": float(np.median(result.times_ms)),
    }

"""Accuracy, cost and time of a model on the expressions of a public data set."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from vltp_ros.data.entries import DataError
from vltp_ros.data.registry import Dataset
from vltp_ros.data.samples import Sample
from vltp_ros.data.truths import run_lengths
from vltp_ros.evaluation.measurements import Answer, Measurement
from vltp_ros.evaluation.metrics import MaskMetrics, overlap
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

    def add(self, task: str, measured: Answer) -> None:
        """Count an answer to an expression of a task; "" where there are no tasks."""
        for metrics in [self.metrics, *([self.by_task[task]] if task else ())]:
            metrics.add_overlap(measured.intersection, measured.union)
        self.tokens.append(measured.tokens)
        self.times_ms.append(measured.ms)

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
    """Measure a model in some settings, all on the same expressions, in this process.

    Args:
        session: its stages are used, its rates are replaced.
        dataset: whose expressions are asked, one at a time.
        settings: what to compare.
        count: number of expressions, spread evenly over the data set; None: all of them.
        skip_bad: leave out what cannot be read, rather than end.
        progress: show a bar on stderr.

    Returns:
        As :meth:`Evaluation.summarise` does.

    Raises:
        ValueError: for an unknown selector, or a count that the data set does not have.
        DataError: for an image that cannot be read, unless ``skip_bad``, or if none can.
    """
    evaluation = Evaluation(session, dataset, settings, count, skip_bad)
    numbers = range(len(evaluation.expressions))
    return evaluation.summarise(list(evaluation.measure(numbers, progress)))


class Evaluation:
    """A model, some settings, and the expressions that are asked in all of them.

    What is measured of an expression does not depend on the others, so that several processes may
    share them.
    """

    def __init__(
        self,
        session: Session,
        dataset: Dataset,
        settings: Sequence[Setting],
        count: int | None = None,
        skip_bad: bool = False,
        predictions: bool = False,
    ) -> None:
        """Choose the expressions.

        Args:
            session: its stages are used, its rates are replaced.
            dataset: whose expressions are asked.
            settings: what to compare.
            count: number of expressions, spread evenly over the data set; None: all of them.
            skip_bad: leave out what cannot be read, rather than end.
            predictions: keep the masks.

        Raises:
            ValueError: for an unknown selector, or a count that the data set does not have.
        """
        check_settings(settings)
        total = len(dataset.entries)
        count = total if count is None else count
        if not 1 <= count <= total:
            raise ValueError(f"count is {count}; {dataset.name} has {total} expressions")
        self.session, self.dataset, self.settings = session, dataset, settings
        self.skip_bad, self.predictions = skip_bad, predictions
        self.expressions = [dataset.entries[number * total // count] for number in range(count)]

    @property
    def digest(self) -> str:
        """Return what tells these expressions from others: their number and a digest.

        Entries that are left out change it, as others then take their places.
        """
        listed = [(one.image_id, one.task, one.text) for one in self.expressions]
        digest = hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:12]
        return f"{len(listed)} ({digest})"

    def measure(self, numbers: Sequence[int], progress: bool = True) -> Iterator[Measurement]:
        """Answer some expressions, each in all settings, and yield what is measured.

        Args:
            numbers: of the expressions, 0-based; each is the seed of what is drawn for it.
            progress: show a bar on stderr.

        Raises:
            DataError: for an image that cannot be read, unless such are left out.
        """
        for number in progress_bar(numbers, shown=progress, unit="expression"):
            entry = self.expressions[number]
            try:
                sample = entry.sample()
            except DataError as error:
                if not self.skip_bad:
                    raise
                yield Measurement(number, entry.image_id, entry.task, problem=str(error))
                continue
            answers = [
                self._compared(sample, answer(self.session, setting, sample, number))
                for setting in self.settings
            ]
            digest = hashlib.sha256(entry.image.read_bytes()).hexdigest()
            yield Measurement(number, sample.image_id, sample.task, digest, tuple(answers))

    def summarise(self, measured: Sequence[Measurement]) -> dict:
        """Return the rows of a table, from what was measured of all expressions, in their order.

        Returns:
            ``{"rows", "skipped", "images_sha256"}``: rows of ``{"split", "selector", "rate",
            "csp", "gmacs", "median_ms"}`` and :meth:`Results.accuracy`, the time being from image
            to mask; ``{"count", "problems"}``, how many entries were left out and why; and the
            digest of the images, each once, whatever their order.

        Raises:
            DataError: if no image could be read.
        """
        problems = [str(problem) for problem in self.dataset.problems]
        problems += [one.problem for one in measured if one.problem]
        answered = [one for one in measured if not one.problem]
        if not answered:
            what = f"none of {len(measured)} images can be read; first: {problems[-1]}"
            raise DataError(self.dataset.name, what)
        results = [Results() for _ in self.settings]
        for one in answered:
            for result, its_answer in zip(results, one.answers, strict=True):
                result.add(one.task, its_answer)
        rows = [
            _row(self.session, self.dataset.name, setting, result)
            for setting, result in zip(self.settings, results, strict=True)
        ]
        skipped = self.dataset.left_out + len(measured) - len(answered)
        images = sorted({one.image_sha256 for one in answered})
        return {
            "rows": rows,
            "skipped": {"count": skipped, "problems": list(dict.fromkeys(problems))},
            "images_sha256": hashlib.sha256("".join(images).encode()).hexdigest(),
        }

    def _compared(self, sample: Sample, answered: Segmentation) -> Answer:
        """Return what is measured of an answer to a sample."""
        intersection, union = overlap(answered.mask, sample.mask, sample.ignored)
        mask = run_lengths(answered.mask) if self.predictions else None
        times_ms = sum(answered.times_ms.values())
        return Answer(intersection, union, answered.tokens, times_ms, mask)


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

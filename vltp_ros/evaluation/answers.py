"""Whether answers are as sure as they say, and their instances the objects that serve a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vltp_ros.imaging.geometry import Pinhole
from vltp_ros.imaging.instances import DepthView, Instance, separate
from vltp_ros.progress import progress_bar
from vltp_ros.runtime.session import Session
from vltp_ros.simulation import SceneRenderer, Split, sample_scene

BINS = 10
"""Of scores, from 0 to 1."""

RIGHT = 0.5
"""IoU from which a mask counts as right."""

STEPS, RIDGE = 50, 1e-3
"""Of Newton's method, and what keeps them short where scores say nothing."""


Part = tuple[float, bool]
"""An instance: its score, and whether it is an object, with an IoU of more than RIGHT."""


@dataclass(frozen=True)
class Answered:
    """What came of one question."""

    found: bool  # the model says that something serves
    score: float  # how sure it is
    iou: float  # of its mask with the truth; 1 where both are empty
    objects: int  # that serve
    by_mask: tuple[Part, ...]  # the instances
    by_depth: tuple[Part, ...]  # those with depth

    @property
    def right(self) -> bool:
        """Whether the answer is: nothing where nothing serves, or a mask that overlaps enough."""
        return (
            self.iou >= RIGHT if self.objects and self.found else not (self.objects or self.found)
        )


def ask(session: Session, split: Split, count: int, progress: bool = True) -> Iterator[Answered]:
    """Ask all questions about ``count`` scenes of edition 1, from seed 0 on."""
    with SceneRenderer() as renderer:
        for seed in progress_bar(range(count), shown=progress, unit="scene"):
            scene = sample_scene(seed, split)
            rendered = renderer.render(scene)
            height, width = rendered.labels.shape
            focal = scene.camera.focal
            camera = Pinhole(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)
            view = DepthView(renderer.depth(scene), camera)
            results = session.segment(rendered.image, [query.text for query in rendered.queries])
            for query, result in zip(rendered.queries, results, strict=True):
                objects = [rendered.labels == label for label in query.objects]
                truth = np.isin(rendered.labels, query.objects)
                union = np.count_nonzero(truth | result.mask)
                yield Answered(
                    found=result.found,
                    score=result.score,
                    iou=np.count_nonzero(truth & result.mask) / union if union else 1.0,
                    objects=len(objects),
                    by_mask=_compared(separate(result), objects),
                    by_depth=_compared(separate(result, view), objects),
                )


def _compared(instances: Sequence[Instance], objects: Sequence[np.ndarray]) -> tuple[Part, ...]:
    """Return score of each instance, and whether it is one of the objects, bool [H, W] each.

    With an IoU of more than a half no object can be two.
    """
    parts = []
    for instance in instances:
        x, y, width, height = instance.box
        matches = False
        for mask in objects:
            common = np.count_nonzero(mask[y : y + height, x : x + width] & instance.mask)
            matches |= common > RIGHT * (instance.area + np.count_nonzero(mask) - common)
        parts.append((instance.score, matches))
    return tuple(parts)


def instance_rows(answers: Sequence[Answered]) -> list[dict]:
    """Return what is right about instances, without and with depth.

    ``precision``: share of the instances that are an object; ``recall``: of the objects that have
    one; ``right``: of the questions that some object serves, those with as many instances;
    ``several_right``: the same of those that several objects serve.
    """
    served = [answer for answer in answers if answer.objects]
    rows = []
    for depth in (False, True):
        parts = [answer.by_depth if depth else answer.by_mask for answer in served]
        matched = sum(matches for some in parts for _, matches in some)
        right = [len(p) == a.objects for p, a in zip(parts, served, strict=True)]
        several = [r for r, a in zip(right, served, strict=True) if a.objects > 1]
        rows.append(
            {
                "depth": depth,
                "questions": len(served),
                "several": len(several),
                "precision": _share(matched, sum(map(len, parts))),
                "recall": _share(matched, sum(answer.objects for answer in served)),
                "right": _share(sum(right), len(right)),
                "several_right": _share(sum(several), len(several)),
            }
        )
    return rows


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def scores_of(answers: Sequence[Answered]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return scores [N] and what was right, bool [N], of answers of both kinds and of instances."""
    pairs = {
        "found": [(a.score, a.right) for a in answers if a.found],
        "nothing": [(a.score, a.right) for a in answers if not a.found],
        "instance": [part for a in answers for part in a.by_mask],
    }
    return {
        name: (np.array([s for s, _ in some]), np.array([r for _, r in some], bool))
        for name, some in pairs.items()
    }


def reliability_rows(answers: Sequence[Answered]) -> list[dict]:
    """Return how often answers are right by how sure they are.

    ``error`` is the expected calibration error (Guo et al., 2017): the mean difference between
    score and share that is right, over BINS, weighted by their counts.
    """
    rows = []
    for name, (scores, right) in scores_of(answers).items():
        index = np.minimum((scores * BINS).astype(int), BINS - 1)
        bins = [
            {
                "count": int(inside.sum()),
                "score": float(scores[inside].mean()),
                "right": float(right[inside].mean()),
            }
            for inside in (index == number for number in range(BINS))
            if inside.any()
        ]
        off = sum(one["count"] * abs(one["score"] - one["right"]) for one in bins)
        rows.append(
            {"answer": name, "count": len(scores), "error": _share(off, len(scores)), "bins": bins}
        )
    return rows


def fit_odds(scores: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Return slope and offset that make scores [N] as likely as what was right says (Platt, 1999).

    By Newton's method. As he does, a few answers that are all right, or all wrong, are not taken
    for certainty: the targets are those of one more answer of each kind.
    """
    probability = scores.clip(1e-6, 1 - 1e-6)
    columns = np.stack((np.log(probability / (1 - probability)), np.ones(len(scores))), 1)
    count = np.count_nonzero(right)
    target = np.where(right, (count + 1) / (count + 2), 1 / (len(right) - count + 2))
    of_all = float(np.log((count + 1) / (len(right) - count + 1)))
    odds = np.array((0.0, of_all))
    for _ in range(STEPS):
        likely = _logistic(columns @ odds)
        gradient = columns.T @ (likely - target) + RIDGE * odds
        weights = (likely * (1 - likely))[:, None]
        step = np.linalg.solve(columns.T @ (weights * columns) + RIDGE * np.eye(2), gradient)
        # Halved until it does not make things worse: where scores are near 1 it may lead far off.
        while _loss(columns, target, odds - step) > _loss(columns, target, odds) + 1e-12:
            step = step / 2
        odds = odds - step
    # Where higher scores are not right more often they say nothing.
    return (float(odds[0]), float(odds[1])) if odds[0] > 0 else (0.0, of_all)


def _logistic(logits: np.ndarray) -> np.ndarray:
    return (1 + np.tanh(logits / 2)) / 2


def _loss(columns: np.ndarray, target: np.ndarray, odds: np.ndarray) -> float:
    """Return the cross entropy with the targets, and what large numbers cost."""
    logits = columns @ odds
    entropy = np.logaddexp(0, logits) - target * logits
    return float(entropy.sum() + RIDGE * (odds @ odds) / 2)

"""Whether answers are as sure as they say, and their instances the objects that serve a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from vltp_ros.imaging.geometry import Pinhole
from vltp_ros.imaging.instances import DepthView, Instance, separate
from vltp_ros.runtime.session import Session
from vltp_ros.simulation import SceneRenderer, Split, sample_scene

BINS = 10
"""Of scores, from 0 to 1."""

RIGHT = 0.5
"""IoU from which a mask counts as right."""


@dataclass(frozen=True)
class Answered:
    """What came of one question."""

    found: bool  # the model says that something serves
    score: float  # how sure it is
    iou: float  # of its mask with the truth; 1 where both are empty
    objects: int  # that serve
    instances: tuple[int, int]  # without and with depth
    matched: tuple[int, int]  # of those so many are an object, with an IoU of at least RIGHT

    @property
    def right(self) -> bool:
        """Whether the answer is: nothing where nothing serves, or a mask that overlaps enough."""
        return (
            self.iou >= RIGHT if self.objects and self.found else not (self.objects or self.found)
        )


def ask(session: Session, split: Split, count: int, progress: bool = True) -> Iterator[Answered]:
    """Ask all questions about ``count`` scenes of edition 1, from seed 0 on."""
    with SceneRenderer() as renderer:
        for seed in tqdm(range(count), disable=not progress, unit="scene"):
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
                parts = [separate(result), separate(result, view)]
                yield Answered(
                    found=result.found,
                    score=result.score,
                    iou=np.count_nonzero(truth & result.mask) / union if union else 1.0,
                    objects=len(objects),
                    instances=(len(parts[0]), len(parts[1])),
                    matched=(_matched(parts[0], objects), _matched(parts[1], objects)),
                )


def _matched(instances: Sequence[Instance], objects: Sequence[np.ndarray]) -> int:
    """Return how many of the instances are an object, bool [H, W] each; each object counts once.

    With an IoU of more than a half no object can have two.
    """
    count = 0
    for instance in instances:
        x, y, width, height = instance.box
        for mask in objects:
            common = np.count_nonzero(mask[y : y + height, x : x + width] & instance.mask)
            count += common > RIGHT * (instance.area + np.count_nonzero(mask) - common)
    return count


def instance_rows(answers: Sequence[Answered]) -> list[dict]:
    """Return what is right about instances, without and with depth.

    ``precision``: share of the instances that are an object; ``recall``: of the objects that have
    one; ``several_right``: of the questions that several objects serve, those with as many.
    """
    served = [answer for answer in answers if answer.objects]
    several = [answer for answer in served if answer.objects > 1]
    return [
        {
            "depth": bool(k),
            "questions": len(served),
            "several": len(several),
            "precision": sum(a.matched[k] for a in served) / sum(a.instances[k] for a in served),
            "recall": sum(a.matched[k] for a in served) / sum(a.objects for a in served),
            "right": float(np.mean([a.instances[k] == a.objects for a in served])),
            "several_right": float(np.mean([a.instances[k] == a.objects for a in several])),
        }
        for k in (0, 1)
    ]


def reliability_rows(answers: Sequence[Answered]) -> list[dict]:
    """Return how often answers are right by how sure they are, for both kinds of answer.

    ``error`` is the expected calibration error (Guo et al., 2017): the mean difference between
    score and share that is right, over BINS, weighted by their counts.
    """
    rows = []
    for found in (True, False):
        scores = np.array([a.score for a in answers if a.found == found])
        right = np.array([a.right for a in answers if a.found == found])
        index = np.minimum((scores * BINS).astype(int), BINS - 1)
        bins = []
        for number in range(BINS):
            inside = index == number
            if inside.any():
                bins.append(
                    {
                        "count": int(inside.sum()),
                        "score": float(scores[inside].mean()),
                        "right": float(right[inside].mean()),
                    }
                )
        error = sum(b["count"] * abs(b["score"] - b["right"]) for b in bins) / max(len(scores), 1)
        rows.append(
            {
                "answer": "found" if found else "nothing",
                "questions": len(scores),
                "score": float(scores.mean()) if len(scores) else None,
                "right": float(right.mean()) if len(right) else None,
                "error": error,
                "bins": bins,
            }
        )
    return rows

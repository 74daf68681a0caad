"""What a data set of crowded scenes has to show before anything is trained on it.

Tokens are squares of 16 pixels of SAM's padded square of 512 pixels, the padding counted in.
Shares are medians over scenes; those of the target, over queries that something serves. A patch of
2 x 2 tokens is uniform where it shows one kind alone, or none at all: what CTS merges. Distractors
count as one more kind. Patches that reach into the padding are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from vltp_ros.data.scenes import LabelledScene, TabletopDataset
from vltp_ros.evaluation.admission import Asked, admission
from vltp_ros.network.preprocessing import fitted_size
from vltp_ros.progress import progress_bar

SIDE, TOKEN = 512, 16  # pixels
CORES = 2  # that the speed is told for: what the workers computed, whatever else the machine did
LEAST_ASKED = 25  # times that a task is asked before its answers are counted
LIMITS: dict[str, tuple[float, float]] = {
    "tokens with an object": (0.55, 1.0),
    "tokens of the target": (0.02, 0.08),
    "uniform patches": (0.0, 0.20),
    "answers to a sentence": (4, float("inf")),
    "sentences of a scene": (4, float("inf")),
    "scenes a second": (15, float("inf")),
}
ADMITTED = 0.45  # gIoU that the best constant rule may reach in a family


@dataclass(frozen=True)
class Gate:
    """One measured figure and what is allowed."""

    name: str
    split: str
    value: float
    low: float
    high: float

    @property
    def passed(self) -> bool:
        """Return whether the figure lies within what is allowed."""
        return self.low <= self.value <= self.high


@dataclass
class Tally:
    """What is counted over the scenes of a data set."""

    families: dict[str, str]  # of the tasks
    kinds: tuple[str, ...]  # of the data set

    objects: list[float] = field(default_factory=list)
    targets: list[float] = field(default_factory=list)
    uniform: list[float] = field(default_factory=list)
    sentences: list[int] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    answers: defaultdict[str, set[frozenset[str]]] = field(default_factory=lambda: defaultdict(set))
    times: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, scene: LabelledScene) -> None:
        """Count a scene."""
        labels, size = to_square(scene.labels)
        numbers = np.array([0, *(self._number(kind) + 1 for kind in scene.kinds)])
        self.objects.append(float(_tokens(labels > 0).mean()))
        self.uniform.append(uniform_share(numbers[labels], size))
        self.sentences.append(len(scene.queries))
        areas = np.bincount(scene.labels.ravel(), minlength=len(scene.objects) + 1)[1:]
        for query in scene.queries:
            if query["objects"]:
                self.targets.append(float(_tokens(np.isin(labels, query["objects"])).mean()))
            self.asked.append(self._asked(scene, query, areas))
            self.times[query["task"]] += 1
            serving = frozenset(str(scene.kinds[label - 1]) for label in query["objects"])
            self.answers[query["task"]].add(serving)

    def _number(self, kind: str | None) -> int:
        """Return the number of a kind; the one after all of them for a distractor."""
        return len(self.kinds) if kind is None else self.kinds.index(kind)

    def _asked(self, scene: LabelledScene, query: dict, areas: np.ndarray) -> Asked:
        """Sum the pixels of each kind, and of those of its objects that serve."""
        numbers = [self._number(kind) for kind in scene.kinds]
        serving = [index + 1 in query["objects"] for index in range(len(areas))]
        size = len(self.kinds) + 1
        return Asked(
            query["task"],
            self.families[query["task"]],
            np.bincount(numbers, areas, size),
            np.bincount(numbers, areas * serving, size),
        )


def check(train: TabletopDataset, val: TabletopDataset) -> list[Gate]:
    """Measure every gate on both data sets.

    Raises:
        ValueError: for an empty data set or one of the first edition.
    """
    rows: list[Gate] = []
    tallies = []
    for data in (train, val):
        families = {task["name"]: task["family"] for task in data.description["tasks"]}
        tally = Tally(families, data.kinds)
        for scene in _scenes(data):
            tally.add(scene)
        tallies.append(tally)
        rows += _figures(tally, data)
    for constant in admission(tallies[0].asked, tallies[1].asked):
        name = f"constant answers, family {constant.family}"
        rows.append(Gate(name, str(val.description["split"]), constant.giou, 0.0, ADMITTED))
    return rows


def _figures(tally: Tally, data: TabletopDataset) -> list[Gate]:
    """Return the figures of one data set."""
    rendering = data.description["rendering"]
    often = [task for task, times in tally.times.items() if times >= LEAST_ASKED]
    values = {
        "tokens with an object": float(np.median(tally.objects)),
        "tokens of the target": float(np.median(tally.targets)) if tally.targets else 0.0,
        "uniform patches": float(np.median(tally.uniform)),
        "answers to a sentence": min((len(tally.answers[task]) for task in often), default=0),
        "sentences of a scene": min(tally.sentences),
        "scenes a second": CORES * rendering["scenes"] / rendering["core_seconds"],
    }
    split = str(data.description["split"])
    return [Gate(name, split, value, *LIMITS[name]) for name, value in values.items()]


def _scenes(data: TabletopDataset) -> Iterator[LabelledScene]:
    if data.edition != 2:
        raise ValueError(
            f"{data.directory} has edition {data.edition}; the gates are for edition 2"
        )
    if not len(data):
        raise ValueError(f"{data.directory} holds no scenes yet")
    yield from progress_bar((data[i] for i in range(len(data))), total=len(data), unit="scene")


def to_square(labels: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Bring labels [H, W] to SAM's square [SIDE, SIDE], 0 in the padding; and the height and width
    that the image has in it.
    """
    height, width = fitted_size(labels.shape[0], labels.shape[1], SIDE)
    scaled = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.pad(scaled, ((0, SIDE - height), (0, SIDE - width))), (height, width)


def uniform_share(kinds: np.ndarray, size: tuple[int, int]) -> float:
    """Return the share of patches of 2 x 2 tokens within (height, width) that show one kind."""
    patch = 2 * TOKEN
    rows, columns = size[0] // patch, size[1] // patch
    patches = kinds[: rows * patch, : columns * patch].reshape(rows, patch, columns, patch)
    return float((patches.max((1, 3)) == patches.min((1, 3))).mean())


def _tokens(mask: np.ndarray) -> np.ndarray:
    """Return bool [SIDE / TOKEN, SIDE / TOKEN]: which tokens hold any pixel of a mask."""
    count = SIDE // TOKEN
    return mask.reshape(count, TOKEN, count, TOKEN).any((1, 3))

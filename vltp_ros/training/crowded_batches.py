"""Batches of crowded scenes with the questions that were asked about them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import zip_longest

import cv2
import numpy as np
import torch
from torch import Tensor

from vltp_ros.data.scenes import LabelledScene, TabletopDataset
from vltp_ros.simulation.crowded.forms import KINDS
from vltp_ros.simulation.crowded.phrasings import THING
from vltp_ros.simulation.crowded.tasks import TASKS
from vltp_ros.training.attributes import ATTRIBUTES, LOOKS, attributes_of, look_of, union
from vltp_ros.training.batches import Batch, Source, light
from vltp_ros.training.config import TrainConfig

CUT_SHARES = 0.45, 0.85
"""Side of a cut, as a share of the image's shorter side."""

CUT_SIDE = 512
"""Side to which a cut is scaled, pixels: objects in it are larger than in whole scenes."""


LEAST_PIXELS = 64
"""Of an object that is asked for by its name."""

ABSENT_SHARE = 0.1
"""Of such questions: what they name is not there."""


@dataclass(frozen=True)
class CrowdedBatch(Batch):
    """B images, each with T questions that are drawn, and F that only auxiliary losses see.

    ``kinds`` are numbers of LOOKS, and ``serving``, [B * (T + F), ATTRIBUTES], is what is said of
    the objects that answer each question, the T of an image before its F.
    """

    further: list[list[str]]  # B lists of F sentences
    labels: Tensor  # uint8 [B, H, W]: 0 = no object, i = the i-th object of the image
    attributes: Tensor  # float [B, M + 1, ATTRIBUTES], of no object and of each
    answers: Tensor  # bool [B, T + F, M + 1]: the objects that answer, the first for "nothing"


@dataclass(frozen=True)
class View:
    """What a picture shows of a scene: the whole or a cut, mirrored or not."""

    image: np.ndarray  # uint8 [H, W, 3] RGB
    labels: np.ndarray  # uint8 [H, W]
    objects: tuple[dict, ...]
    queries: tuple[dict, ...]  # those that are true of this picture


class CrowdedSource(Source):
    """Draws, augments and prefetches batches of edition 2.

    Pictures are whole scenes or, in a share of the steps, square cuts that hold fewer objects.
    Whatever is asked about a cut is true of it. A picture that is mirrored has its left and right
    exchanged in the questions. Questions are put in words that are drawn anew, so that a sentence
    meets many scenes, and the families of an image's questions take turns.
    """

    data: TabletopDataset
    classes = len(LOOKS)
    attributes = len(ATTRIBUTES)

    def __init__(self, data: TabletopDataset, config: TrainConfig) -> None:
        """Take the scenes to draw from.

        Raises:
            ValueError: for a data set with too few scenes, of another edition, or with tasks that
                this version does not know.
        """
        super().__init__(config)
        if data.edition != 2:
            raise ValueError(f"{data.directory} has edition {data.edition}; it must have edition 2")
        unknown = [task["name"] for task in data.description["tasks"] if task["name"] not in TASKS]
        if unknown:
            raise ValueError(
                f"{data.directory / 'dataset.json'} asks for {unknown[0]!r}, which is no task; "
                "render the scenes again"
            )
        self.data = data
        sizes: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for index in range(len(data)):
            sizes[data.size(index)].append(index)
        self.groups = [np.array(group) for group in sizes.values() if len(group) >= config.batch]
        if not self.groups:
            raise ValueError(
                f"{data.directory} has {len(data)} scenes, and fewer than the batch of "
                f"{config.batch} of each size"
            )
        self.order = lru_cache(maxsize=2)(self._order)
        """Of an epoch: the scenes of each of its batches."""

    def batch(self, step: int) -> CrowdedBatch:
        """Return the batch of a step, a pure function of the seed, the step and the data set."""
        rng = np.random.default_rng([self.config.seed, step])
        cut = rng.random() < self.config.cut_share
        scenes = [self.data[number] for number in self.numbers(step)]
        views = [
            augmented((cut_view(scene, rng) if cut else whole(scene)), rng) for scene in scenes
        ]
        count, further = self.config.tasks_per_image, self.config.further_tasks
        asked = [draw_queries(view.queries, count + further, rng) for view in views]
        named = [draw_names(view, self.config.naming_tasks, rng) for view in views]
        sentences = [
            [_put(query, rng) for query in row] + [query["text"] for query in names]
            for row, names in zip(asked, named, strict=True)
        ]
        asked = [row + names for row, names in zip(asked, named, strict=True)]
        most = max(len(view.objects) for view in views)
        answers = torch.from_numpy(np.stack([_answers(row, most) for row in asked]))
        attributes = torch.from_numpy(np.stack([_attributes(view, most) for view in views]))
        masks = [mask_of(view, query) for view, row in zip(views, asked, strict=True)
                 for query in row[:count]]  # fmt: skip
        return CrowdedBatch(
            torch.from_numpy(np.stack([view.image for view in views])).permute(0, 3, 1, 2),
            [row[:count] for row in sentences],
            torch.from_numpy(np.stack(masks)),
            torch.from_numpy(np.stack([looks_of(view) for view in views])),
            union(answers, attributes).flatten(0, 1),
            further=[row[count:] for row in sentences],
            labels=torch.from_numpy(np.stack([view.labels for view in views])),
            attributes=attributes,
            answers=answers,
        )

    def numbers(self, step: int) -> list[int]:
        """Return the numbers of the scenes of a step's batch."""
        epoch, index = divmod(step, len(self.order(0)))
        return self.order(epoch)[index].tolist()

    def _order(self, epoch: int) -> list[np.ndarray]:
        """Return an epoch's batches; a batch has images of one size, what is left over waits."""
        rng = np.random.default_rng([self.config.seed, 1, epoch])
        size = self.config.batch
        batches = []
        for group in self.groups:
            shuffled = rng.permutation(group)[: len(group) // size * size]
            batches += list(shuffled.reshape(-1, size))
        return [batches[i] for i in rng.permutation(len(batches))]


def whole(scene: LabelledScene) -> View:
    """Return the view of a whole scene."""
    return View(scene.image, scene.labels, scene.objects, scene.queries)


def cut_view(scene: LabelledScene, rng: np.random.Generator) -> View:
    """Return the view of a square around an answer.

    Taking things away leaves an answer right as long as all of it stays, whole: the best thing
    present, the largest one, those that are full. What is asked about a cut keeps to that;
    relations are not asked, for the things that they refer to may be gone. A scene of which no
    such square shows a whole answer is shown whole, made square by padding.
    """
    height, width = scene.labels.shape
    side = round(min(height, width) * rng.uniform(*CUT_SHARES))
    able = [query for query in scene.queries if "D" not in query["family"]]
    boxes = [_box(scene, query) for query in able if query["objects"]]
    boxes = [box for box in boxes if max(box[2] - box[0], box[3] - box[1]) <= side]
    if not boxes:
        side = max(height, width)
        padding = ((0, side - height), (0, side - width))
        image = np.pad(scene.image, (*padding, (0, 0)))
        return _scaled(replace(whole(scene), image=image, labels=np.pad(scene.labels, padding)))
    left, top, right, bottom = boxes[rng.integers(len(boxes))]
    x = int(rng.integers(max(right - side, 0), min(left, width - side) + 1))
    y = int(rng.integers(max(bottom - side, 0), min(top, height - side) + 1))
    queries = [query for query in able if _within(scene, query, (x, y, x + side, y + side))]
    part = np.s_[y : y + side, x : x + side]
    view = View(scene.image[part], scene.labels[part], scene.objects, tuple(queries))
    return _scaled(view)


def _box(scene: LabelledScene, query: dict) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of what answers a query."""
    boxes = np.array([scene.objects[label - 1]["box"] for label in query["objects"]])
    left, top = boxes[:, :2].min(0).tolist()
    right, bottom = boxes[:, 2:].max(0).tolist()
    return left, top, right, bottom


def _within(scene: LabelledScene, query: dict, frame: tuple[int, int, int, int]) -> bool:
    """Return whether a frame shows all that answers a query, whole; nothing always is."""
    if not query["objects"]:
        return True
    left, top, right, bottom = _box(scene, query)
    return left >= frame[0] and top >= frame[1] and right <= frame[2] and bottom <= frame[3]


def _scaled(view: View) -> View:
    """Scale a square view to CUT_SIDE."""
    size = (CUT_SIDE, CUT_SIDE)
    image = cv2.resize(view.image, size, interpolation=cv2.INTER_LINEAR)
    labels = cv2.resize(view.labels, size, interpolation=cv2.INTER_NEAREST)
    return replace(view, image=image, labels=labels)


def augmented(view: View, rng: np.random.Generator) -> View:
    """Return a view in another light, mirrored half of the time, questions included."""
    image, labels, queries = view.image, view.labels, view.queries
    if rng.random() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
        queries = tuple({**query, "task": mirrored_task(query["task"])} for query in queries)
    image = cv2.LUT(np.ascontiguousarray(image), light(rng))
    return replace(view, image=image, labels=np.ascontiguousarray(labels), queries=queries)


def mirrored_task(name: str) -> str:
    """Return the task whose answer in a mirrored picture is that of a task in the picture."""
    swapped = {"left": "right", "right": "left"}
    return " ".join(swapped.get(word, word) for word in name.split(" "))


def draw_queries(queries: Sequence[dict], count: int, rng: np.random.Generator) -> list[dict]:
    """Draw so many of at least one query; families take turns, and all are drawn before one again.

    A family that is rare overall is thereby asked for wherever it can be.
    """
    drawn: list[dict] = []
    while len(drawn) < count:
        families: defaultdict[str, list[dict]] = defaultdict(list)
        for i in rng.permutation(len(queries)):
            families[queries[i]["family"]].append(queries[i])
        order = rng.permutation(sorted(families))
        turns = zip_longest(*(families[str(family)] for family in order))
        drawn += [query for turn in turns for query in turn if query is not None]
    return drawn[:count]


def draw_names(view: View, count: int, rng: np.random.Generator) -> list[dict]:
    """Draw questions that name a kind, or a kind in a state, and what answers them in a view.

    No task of the scenes asks so. A language model learns from it to find what it has a word for,
    which all of them need. Kinds of which hardly anything is to be seen are not asked for.
    """
    pixels = np.bincount(view.labels.ravel(), minlength=256)
    shown = [thing for thing in view.objects if pixels[thing["label"]]]
    doubtful = {thing["kind"] for thing in shown if pixels[thing["label"]] < LEAST_PIXELS}
    clear = [thing for thing in shown if thing["kind"] and thing["kind"] not in doubtful]
    absent = [kind for kind in KINDS if all(thing["kind"] != kind for thing in shown)]
    questions = []
    for _ in range(count):
        if not clear or rng.random() < ABSENT_SHARE:
            what, answers = str(rng.choice(absent)), []
        else:
            thing = clear[rng.integers(len(clear))]
            state = thing["state"] if thing["state"] and rng.random() < 0.5 else None
            what = f"{state} {thing['kind']}" if state else thing["kind"]
            answers = [
                one["label"]
                for one in clear
                if one["kind"] == thing["kind"] and state in (None, one["state"])
            ]
        frame = THING.common[rng.integers(len(THING.common))]
        questions.append({"text": frame.format(f"the {what}"), "objects": answers})
    return questions


def common_sentences() -> list[str]:
    """Return every way in which the training split may put a task, or name a kind."""
    names = [frame.format(f"the {kind}") for frame in THING.common for kind in KINDS]
    return names + [
        frame.format(content)
        for task in TASKS.values()
        if task.common
        for frame in task.frames.common
        for content in task.contents
    ]


def _put(query: dict, rng: np.random.Generator) -> str:
    """Put a query's task in words of the training split."""
    task = TASKS[query["task"]]
    return task.frames.fill(rng, "train", task.contents)


def _answers(queries: Sequence[dict], objects: int) -> np.ndarray:
    """Return bool [Q, objects + 1]: which objects answer; the first stands for none."""
    answers = np.zeros((len(queries), objects + 1), dtype=bool)
    for row, query in zip(answers, queries, strict=True):
        row[list(query["objects"]) or 0] = True
    return answers


def _attributes(view: View, objects: int) -> np.ndarray:
    """Return what is said of no object and of each, float32 [objects + 1, ATTRIBUTES]."""
    said = np.zeros((objects + 1, len(ATTRIBUTES)), dtype=np.float32)
    said[: len(view.objects) + 1] = [attributes_of(thing) for thing in (None, *view.objects)]
    return said


def looks_of(view: View) -> np.ndarray:
    """Return the look at each pixel, uint8 [H, W]."""
    lookup = np.zeros(256, np.uint8)
    lookup[1 : len(view.objects) + 1] = [look_of(thing) for thing in view.objects]
    return cv2.LUT(view.labels, lookup)


def mask_of(view: View, query: dict) -> np.ndarray:
    """Return what answers a query, bool [H, W]."""
    lookup = np.zeros(256, np.uint8)
    lookup[list(query["objects"])] = 1
    return cv2.LUT(view.labels, lookup).view(bool)

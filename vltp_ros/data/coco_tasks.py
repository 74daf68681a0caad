"""COCO-Tasks: 14 tasks, and the things in COCO's images that people prefer for them (2019)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, ClassVar

from vltp_ros.data.entries import (
    BAD_RECORD,
    DataError,
    Entries,
    Entry,
    coco_image,
    describe_error,
    read_json,
    stated_size,
)
from vltp_ros.data.truths import Instances

TASKS = (
    "step on something",
    "sit comfortably",
    "place flowers",
    "get potatoes out of fire",
    "water plant",
    "get lemon out of tea",
    "dig hole",
    "open bottle of beer",
    "open parcel",
    "serve wine",
    "pour sugar",
    "smear butter",
    "extinguish fire",
    "pound carpet",
)
"""In the order of their numbers, from 1."""

EXPRESSION = "you can use the thing to {}"

NOT_PREFERRED, PREFERRED = 0, 1
"""The categories of annotated things."""


class CocoTasks:
    """Reads ROOT/coco-tasks/annotations/task_{1..14}_{train,test}.json."""

    name = "coco-tasks"
    splits: ClassVar = {"train": "train", "test": "test"}
    publisher = (
        "https://github.com/coco-tasks/dataset has the annotations (Git LFS); the images are "
        "train2014 and val2014 of https://cocodataset.org/#download"
    )

    def files(self, root: Path, split: str) -> list[Path]:
        """Return the annotation files of a split, in the order of the tasks."""
        folder = root / self.name / "annotations"
        return [folder / f"task_{n}_{split}.json" for n in range(1, len(TASKS) + 1)]

    def entries(self, root: Path, split: str) -> Entries:
        """Read the entries of a split; DataError for a file that is not in COCO's format."""
        for path, task in zip(self.files(root, split), TASKS, strict=True):
            content = read_json(path)
            if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
                raise DataError(path, "has no images and annotations, as COCO's format does")
            try:
                yield from _entries(content, root, task, path)
            except BAD_RECORD as error:
                raise DataError(path, f"is not in COCO's format: {error}") from error


def _entries(content: dict[str, Any], root: Path, task: str, path: Path) -> Entries:
    """Read the images of a task; one with a bad annotation is bad."""
    preferred = defaultdict(list)
    known = {image.get("id") for image in content["images"]}
    bad = {}
    for number, annotation in enumerate(content["annotations"]):
        place = f"{path}, annotation {annotation.get('id', f'number {number}')}"
        try:
            image_id = annotation["image_id"]
            if image_id not in known:
                raise ValueError(f"image_id is {image_id!r}, which no image has")
            if annotation["category_id"] not in (NOT_PREFERRED, PREFERRED):
                raise ValueError(f"category_id is {annotation['category_id']!r}; allowed: 0 and 1")
            if annotation["category_id"] == PREFERRED:
                preferred[image_id].append(annotation["segmentation"])
        except BAD_RECORD as error:
            problem = DataError(place, describe_error(error))
            bad[annotation.get("image_id")] = problem
            yield problem
    for image in content["images"]:
        place = f"{path}, image {image.get('id')}"
        if image.get("id") in bad:
            continue
        try:
            yield Entry(
                coco_image(root, image["file_name"]),
                stated_size(image),
                EXPRESSION.format(task),
                Instances(preferred[image["id"]]),
                str(image["id"]),
                task,
                place,
            )
        except BAD_RECORD as error:
            yield DataError(place, describe_error(error))

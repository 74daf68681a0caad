"""Tiny data sets in the formats of the public ones, written by tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from vltp_ros.data.coco_tasks import TASKS

HEIGHT, WIDTH = 48, 64

SQUARE = [[4, 4, 14, 4, 14, 14, 4, 14]]
"""An instance of 100 pixels, as COCO gives it."""

TRIANGLE, CORNER = [[30, 10, 50, 10, 50, 30]], [[0, 0, 9, 0, 9, 9]]


def write_image(path: Path, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """Write a picture of noise, the same for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(path.name))
    Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(path)
    return path


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def edit_json(path: Path, change) -> None:
    """Change what a JSON file holds, in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def coco_name(folder: str, image_id: int) -> str:
    return f"COCO_{folder}_{image_id:012}.jpg"


def rio_record(image_id: int, task_id: int = 1, masks=(SQUARE,), text: str = "cut bread") -> dict:
    return {
        "image_id": image_id,
        "height": HEIGHT,
        "width": WIDTH,
        "task_id": task_id,
        "expressions": f"you can use the thing to {text}",
        "bbox_list": [[4, 4, 10, 10] for _ in masks],
        "mask_list": list(masks),
    }


def write_rio(root: Path) -> None:
    """Write 40 images to train on, two tests of two."""
    for image_id in range(1, 41):
        write_image(root / "coco" / "train2014" / coco_name("train2014", image_id))
    for image_id in (101, 102, 103):
        write_image(root / "coco" / "val2014" / coco_name("val2014", image_id))
    write_json(root / "rio" / "train.json", [rio_record(n, n % 3) for n in range(1, 41)])
    write_json(
        root / "rio" / "test_common.json",
        [rio_record(101, 7, [SQUARE, TRIANGLE]), rio_record(102, 8, text="drink")],
    )
    uncommon = [rio_record(101, 9), rio_record(103, 10)]
    write_json(root / "rio" / "test_uncommon.json", uncommon)


def write_coco_tasks(root: Path) -> None:
    """Write an image to train on and two to test on, of which only task 1 prefers things."""
    ids = {"train": (1,), "test": (101, 102)}
    for split, image_ids in ids.items():
        folder = {"train": "train2014", "test": "val2014"}[split]
        images = [
            {"id": n, "height": HEIGHT, "width": WIDTH, "file_name": coco_name(folder, n)}
            for n in image_ids
        ]
        for image in images:
            write_image(root / "coco" / folder / image["file_name"])
        first = image_ids[0]
        for number in range(1, len(TASKS) + 1):
            preferred = int(number == 1)
            annotations = [
                {"id": 1, "image_id": first, "category_id": preferred, "segmentation": SQUARE},
                {"id": 2, "image_id": first, "category_id": preferred, "segmentation": TRIANGLE},
                {"id": 3, "image_id": first, "category_id": 0, "segmentation": CORNER},
            ]
            path = root / "coco-tasks" / "annotations" / f"task_{number}_{split}.json"
            write_json(path, {"images": images, "annotations": annotations, "categories": []})


def labelme(*shapes: tuple[str, list], text: str | list[str] = "what can cut bread?") -> dict:
    return {
        "text": text,
        "is_sentence": True,
        "shapes": [{"label": label, "points": points} for label, points in shapes],
    }


def write_reasonseg(root: Path) -> None:
    """Write an image for each split."""
    target = ("target", [[4, 4], [14, 4], [14, 14], [4, 14]])
    ignored = ("ignore", [[8, 8], [12, 8], [12, 12], [8, 12]])
    for split in ("train", "val", "test"):
        folder = root / "reasonseg" / split
        write_image(folder / f"{split}_1.jpg")
        content = labelme(target, ignored, ("flag", [[0, 0], [1, 1]]), text=["cut", "slice"])
        write_json(folder / f"{split}_1.json", content)


def write_refcoco(
    root: Path,
    name: str = "refcoco",
    by: str = "unc",
    splits: tuple[str, ...] = ("train", "val", "testA", "testB"),
) -> list[dict]:
    """Write instances and phrases as JSON, one for each split; return the phrases."""
    images, annotations, refs = [], [], []
    for number, split in enumerate(splits, 1):
        file_name = coco_name("train2014", number)
        write_image(root / "coco" / "train2014" / file_name)
        images.append({"id": number, "height": HEIGHT, "width": WIDTH, "file_name": file_name})
        annotations.append(
            {"id": 10 * number, "image_id": number, "category_id": 5, "segmentation": SQUARE}
        )
        refs.append(
            {
                "ref_id": number,
                "ann_id": 10 * number,
                "image_id": number,
                "category_id": 5,
                "split": split,
                "file_name": "left as it is",
                "sentences": [{"sent": "left cup"}, {"sent": "cup by the plate"}],
            }
        )
    content = {"images": images, "annotations": annotations, "categories": [{"id": 5}]}
    write_json(root / name / "instances.json", content)
    write_json(root / name / f"refs({by}).json", refs)
    return refs

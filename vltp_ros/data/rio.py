"""RIO: intentions that things in COCO's images serve (Qu et al., 2023)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar

from vltp_ros.data.entries import (
    BAD_RECORD,
    DataError,
    Entries,
    Entry,
    coco_image,
    describe_error,
    expression,
    read_json,
    stated_size,
)
from vltp_ros.data.truths import Instances

VAL_SHARE = 0.05
"""Of the training images that are for validation; RIO itself publishes no such split."""


class Rio:
    """Reads ROOT/rio/*.json, whose names have train, common or uncommon in them."""

    name = "rio"
    splits: ClassVar = {"train": "train", "val": "val", "common": "test", "uncommon": "test"}
    publisher = (
        "https://github.com/qumengxue/RIO links the annotations; the images are train2014 and "
        "val2014 of https://cocodataset.org/#download"
    )

    def files(self, root: Path, split: str) -> list[Path]:
        """Return the annotation file of a split; DataError unless there is exactly one."""
        word = "train" if split == "val" else split
        folder = root / self.name
        paths = sorted(path for path in folder.glob("*.json") if word in path.name)
        if word == "common":
            paths = [path for path in paths if "uncommon" not in path.name]
        if len(paths) != 1:
            names = ", ".join(path.name for path in paths) or "no file"
            what = f"{names} for {word}; there must be one"
            raise DataError(folder / f"*{word}*.json", what, missing=not paths)
        return paths

    def entries(self, root: Path, split: str) -> Entries:
        """Read the entries of a split; DataError for a file that is no list."""
        (path,) = self.files(root, split)
        records = read_json(path)
        if not isinstance(records, list):
            raise DataError(path, "is no list of entries, as RIO's own files are")
        folder = "train2014" if split in ("train", "val") else "val2014"
        for number, record in enumerate(records):
            place = f"{path}, entry {number}"
            try:
                image_id = int(record["image_id"])
                if split in ("train", "val") and (split == "val") != is_val(image_id):
                    continue
                yield from _entries(record, root, f"COCO_{folder}_{image_id:012}.jpg", place)
            except BAD_RECORD as error:
                yield DataError(place, describe_error(error))


def is_val(image_id: int) -> bool:
    """Return whether a training image is held out for validation, the same on every machine."""
    digest = hashlib.sha256(str(image_id).encode()).digest()
    return int.from_bytes(digest[:4], "big") < VAL_SHARE * 2**32


def _entries(record: dict[str, Any], root: Path, file_name: str, place: str) -> list[Entry]:
    """Return an entry for each expression of a record."""
    texts = record["expressions"]
    texts = texts if isinstance(texts, list) and texts else [texts]
    truth = Instances(record["mask_list"])
    image, size = coco_image(root, file_name), stated_size(record)
    image_id, task = str(record["image_id"]), str(record["task_id"])
    return [Entry(image, size, expression(text), truth, image_id, task, place) for text in texts]

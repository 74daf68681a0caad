"""All public data sets by name, read and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vltp_ros.data.coco_tasks import CocoTasks
from vltp_ros.data.entries import DataError, Entries, Entry
from vltp_ros.data.reasonseg import ReasonSeg
from vltp_ros.data.refer import Refer
from vltp_ros.data.rio import Rio


class Reader(Protocol):
    """What reads the splits of a data set."""

    @property
    def name(self) -> str:
        """Return its name."""

    @property
    def splits(self) -> Mapping[str, str]:
        """Return split -> part: train, val or test; two tests may share images, two parts none."""

    @property
    def publisher(self) -> str:
        """Return where its owners publish it."""

    def files(self, root: Path, split: str) -> list[Path]:
        """Return the annotation files of a split; DataError where they cannot be told."""

    def entries(self, root: Path, split: str) -> Entries:
        """Read the entries of a split; DataError for a file that is missing or of no use."""


PARTS = {"train": "train", "val": "val", "test": "test"}
TESTS = {"train": "train", "val": "val", "testA": "test", "testB": "test"}

READERS: tuple[Reader, ...] = (
    Rio(),
    CocoTasks(),
    ReasonSeg(),
    Refer("refcoco", "unc", TESTS),
    Refer("refcoco+", "unc", TESTS),
    Refer("refcocog", "umd", PARTS),
)

DATASETS = {
    f"{reader.name}-{split}": (reader, split) for reader in READERS for split in reader.splits
}
"""Name -> what reads it, and the split."""


@dataclass(frozen=True)
class Dataset:
    """A split of a data set."""

    name: str
    entries: tuple[Entry, ...]  # the good ones
    problems: tuple[DataError, ...]  # what is wrong with the others, each once
    left_out: int  # number of the others
    files: tuple[Path, ...]  # of annotations

    @property
    def tasks(self) -> tuple[str, ...]:
        """Return the tasks that occur, in order of appearance."""
        return tuple(dict.fromkeys(entry.task for entry in self.entries if entry.task))

    @property
    def digest(self) -> str:
        """Return SHA-256 of the annotation files, 64 hexadecimal digits; images do not enter."""
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()


def reader_of(name: str) -> tuple[Reader, str]:
    """Return what reads a data set, and the split; ValueError for an unknown name."""
    if name not in DATASETS:
        raise ValueError(f"dataset is {name!r}; allowed: {', '.join(DATASETS)}")
    return DATASETS[name]


def read_dataset(name: str, root: Path) -> Dataset:
    """Read a data set and check every entry, without decoding images.

    Args:
        name: one of DATASETS.
        root: folder of all data sets.

    Raises:
        ValueError: for an unknown name.
        DataError: for an annotation file that is missing or in another format, which cannot be
            left out.
    """
    reader, split = reader_of(name)
    others = _images_of_other_parts(reader, split, root)
    entries, left_out = [], 0
    problems: dict[str, DataError] = {}
    for item in reader.entries(root, split):
        try:
            if isinstance(item, DataError):
                raise item
            item.check()
            if item.image_id in others:
                what = f"image {item.image_id} is in {others[item.image_id]}, too"
                raise DataError(item.place, what)
        except DataError as problem:
            problems.setdefault(str(problem), problem)
            left_out += 1
        else:
            entries.append(item)
    files = tuple(reader.files(root, split))
    return Dataset(name, tuple(entries), tuple(problems.values()), left_out, files)


def load_dataset(name: str, root: Path, skip_bad: bool = False) -> Dataset:
    """Read a data set to use it; see :func:`read_dataset`.

    Raises:
        DataError: for the first entry that is bad, unless ``skip_bad``, or if none is left.
    """
    dataset = read_dataset(name, root)
    if dataset.problems and not skip_bad:
        first, more = dataset.problems[0], len(dataset.problems) - 1
        others = f", and {more} more problems" if more else ""
        raise DataError(
            name, f"{first}{others}; `vltp data check` names all, --skip-bad leaves them out"
        )
    if not dataset.entries:
        raise DataError(name, f"none of {dataset.left_out} entries can be used")
    return dataset


def _images_of_other_parts(reader: Reader, split: str, root: Path) -> dict[str, str]:
    """Return image id -> data set, for all parts that must not share images with this split."""
    images = {}
    for other, part in reader.splits.items():
        if part == reader.splits[split]:
            continue
        try:
            for entry in reader.entries(root, other):
                if isinstance(entry, Entry):
                    images[entry.image_id] = f"{reader.name}-{other}"
        except DataError:
            continue  # what is not there cannot share anything
    return images

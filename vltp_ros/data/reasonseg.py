"""ReasonSeg: implicit questions about photographs (Lai et al., 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from vltp_ros.data.entries import (
    BAD_RECORD,
    DataError,
    Entries,
    Entry,
    describe_error,
    expression,
    read_json,
)
from vltp_ros.data.truths import Outlines

ENCODINGS = ("utf-8", "cp1252")
"""Of the files, which are not all written alike."""


class ReasonSeg:
    """Reads ROOT/reasonseg/{train,val,test}/*.json, each beside its .jpg."""

    name = "reasonseg"
    splits: ClassVar = {"train": "train", "val": "val", "test": "test"}
    publisher = "https://github.com/dvlab-research/LISA#dataset links images and annotations"

    def files(self, root: Path, split: str) -> list[Path]:
        """Return the annotation files of a split; DataError if there are none."""
        folder = root / self.name / split
        paths = sorted(folder.glob("*.json"))
        if not paths:
            raise DataError(folder / "*.json", "no file is there", missing=True)
        return paths

    def entries(self, root: Path, split: str) -> Entries:
        """Read the entries of a split: of train all wordings, else the first, as LISA does."""
        for path in self.files(root, split):
            try:
                yield from _entries(path, all_wordings=split == "train")
            except DataError as error:
                yield error
            except BAD_RECORD as error:
                yield DataError(path, describe_error(error))


def _entries(path: Path, all_wordings: bool) -> list[Entry]:
    """Return an entry for each wording of a file's question."""
    content = read_json(path, ENCODINGS)
    texts = content["text"]
    texts = texts if isinstance(texts, list) and texts else [texts]
    image = path.with_suffix(".jpg")
    truth = _outlines(content["shapes"])
    return [
        Entry(image, None, expression(text), truth, path.stem, "", str(path))
        for text in texts[: None if all_wordings else 1]
    ]


def _outlines(shapes: list[dict[str, Any]]) -> Outlines:
    """Sort shapes by their labels; flags are left over from the annotation and mean nothing."""
    targets, ignored = [], []
    for shape in shapes:
        label = str(shape["label"]).lower()
        if label == "flag":
            continue
        if "ignore" in label:
            ignored.append(shape["points"])
        elif "target" in label:
            targets.append(shape["points"])
        else:
            raise ValueError(f"label is {shape['label']!r}; allowed: target, ignore and flag")
    return Outlines(targets, ignored)

"""RefCOCO, RefCOCO+ and RefCOCOg: phrases for single things in COCO's images."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

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


class Refer:
    """Reads ROOT/NAME/instances.json and refs(OWNER).json, or refs(OWNER).p as published."""

    publisher = (
        "https://github.com/lichengunc/refer links the annotations, or their copies at "
        "https://web.archive.org; the images are train2014 of https://cocodataset.org/#download"
    )

    def __init__(self, name: str, owner: str, splits: dict[str, str]) -> None:
        """Take the name of the data set, who split it, and split -> part."""
        self.name, self.owner, self.splits = name, owner, splits

    def files(self, root: Path, split: str) -> list[Path]:
        """Return the files of instances and phrases, which all splits share."""
        folder = root / self.name
        refs = folder / f"refs({self.owner}).json"
        pickled = refs.with_suffix(".p")
        return [folder / "instances.json", pickled if pickled.is_file() else refs]

    def entries(self, root: Path, split: str) -> Entries:
        """Read the entries of a split; DataError for files in another format."""
        instances, refs = self.files(root, split)
        content = read_json(instances)
        records = read_pickle(refs) if refs.suffix == ".p" else read_json(refs)
        if not isinstance(records, list):
            raise DataError(refs, "is no list of phrases, as REFER's own files are")
        try:
            tables = tuple(
                {record["id"]: record for record in content[kind]}
                for kind in ("images", "annotations", "categories")
            )
        except BAD_RECORD as error:
            raise DataError(instances, describe_error(error)) from error
        for number, ref in enumerate(records):
            place = f"{refs}, entry {number}"
            try:
                if ref["split"] == split:
                    yield from _entries(ref, tables, root, place)
            except BAD_RECORD as error:
                yield DataError(place, describe_error(error))


def _entries(
    ref: dict[str, Any], tables: tuple[dict[Any, dict], ...], root: Path, place: str
) -> list[Entry]:
    """Return an entry for each phrase; ValueError for an id that ``tables`` do not have.

    Args:
        ref: a thing and its phrases.
        tables: images, annotations and categories by id.
        root: folder of all data sets.
        place: of the thing, for errors.
    """
    records = []
    for table, key in zip(tables, ("image_id", "ann_id", "category_id"), strict=True):
        if ref[key] not in table:
            raise ValueError(f"{key} is {ref[key]!r}, which instances.json does not have")
        records.append(table[ref[key]])
    image, annotation, _ = records
    return [
        Entry(
            coco_image(root, image["file_name"]),
            stated_size(image),
            expression(sentence["sent"]),
            Instances([annotation["segmentation"]]),
            str(image["id"]),
            "",
            place,
        )
        for sentence in ref["sentences"]
    ]


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, dicts, strings and numbers; whatever names a class or function is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"names {module}.{name}")


def read_pickle(path: Path) -> Any:
    """Read a pickle of plain containers, without running anything that it names; else DataError."""
    try:
        # Python 2 wrote them, with strings of bytes.
        return _PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises almost anything
        raise DataError(
            path, f"is no pickle of lists, dicts, strings and numbers alone ({error})"
        ) from error

"""What data sets are lists of: an expression about an image that is read when it is needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from vltp_ros.data.samples import Sample
from vltp_ros.data.truths import Size, Truth
from vltp_ros.imaging.pictures import read_picture

ORIENTATION = 0x0112
"""EXIF's tag; from 5 on, what is stored as a row is shown as a column."""


BAD_RECORD = (AttributeError, KeyError, TypeError, ValueError)
"""What reading a record raises that lacks something, or has it in another form."""


class DataError(ValueError):
    """What is wrong with a file of a data set, or with an entry in it."""

    def __init__(self, place: Path | str, what: str, missing: bool = False) -> None:
        """Take file and entry, what is wrong there, and whether the file is missing."""
        super().__init__(f"{place}: {what}")
        self.missing = missing


@dataclass(frozen=True)
class Entry:
    """An expression about an image, and what the right mask is drawn from."""

    image: Path
    size: Size | None  # as the annotations state it; None: they do not
    text: str
    truth: Truth
    image_id: str
    task: str  # "" where there is none
    place: str  # file and entry, for errors

    def check(self) -> None:
        """Raise DataError for an image that is missing, or shapes that do not fit in it."""
        if not self.image.is_file():
            raise DataError(self.image, "the image does not exist", missing=True)
        self._check_truth(self.size or image_size(self.image))

    def pixels(self) -> np.ndarray:
        """Read the image, uint8 [H, W, 3] RGB; DataError if it cannot be, or has another size."""
        try:
            image = read_picture(self.image)
        except ValueError as error:
            raise DataError(self.image, "the image cannot be decoded") from error
        height, width = image.shape[:2]
        if self.size not in (None, (height, width)):
            raise DataError(
                self.image, f"has {width} x {height} pixels; {self.place} states {self._stated}"
            )
        return image

    def sample(self) -> Sample:
        """Read the image and draw the mask. Raises DataError, naming file and entry."""
        image = self.pixels()
        size = (image.shape[0], image.shape[1])
        self._check_truth(size)
        mask, ignored = self.truth.draw(size)
        return Sample(image, self.text, mask, ignored, self.image_id, self.task)

    @property
    def _stated(self) -> str:
        return f"{self.size[1]} x {self.size[0]}" if self.size else "no size"

    def _check_truth(self, size: Size) -> None:
        try:
            self.truth.check(size)
        except ValueError as error:
            raise DataError(self.place, str(error)) from error


Entries = Iterator[Entry | DataError]
"""What is read of an annotation file: entries, and errors in place of those that are bad."""


def image_size(path: Path) -> Size:
    """Return height and width of an image as it is shown, undecoded; DataError for none."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(ORIENTATION, 1) >= 5
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(path, "the image cannot be decoded") from error
    return (width, height) if turned else (height, width)


def coco_image(root: Path, file_name: str) -> Path:
    """Return where an image of COCO 2014 lies, whose name has the folder; ValueError for another.

    Args:
        root: folder of all data sets.
        file_name: COCO_train2014_000000000009.jpg, for example.
    """
    parts = file_name.split("_")
    if len(parts) != 3 or parts[:2] not in (["COCO", "train2014"], ["COCO", "val2014"]):
        raise ValueError(
            f"file_name is {file_name!r}; allowed: COCO_train2014_… and COCO_val2014_…"
        )
    return root / "coco" / parts[1] / file_name


def expression(text: Any) -> str:
    """Return a sentence in one line, without space around it; ValueError for what is none."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"the expression is {text!r}; it must be a sentence")
    line = " ".join(text.split())
    if not line.isprintable():
        raise ValueError(f"the expression is {line!r}; it must not hold control characters")
    return line


def stated_size(record: dict) -> Size:
    """Return the height and width that a record states; ValueError for none."""
    size = (record["height"], record["width"])
    if not all(isinstance(side, int) and side > 0 for side in size):
        raise ValueError(f"height and width are {size[0]!r} and {size[1]!r}; they must be pixels")
    return size


def describe_error(error: Exception) -> str:
    """Return in words what is wrong with a record."""
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def read_json(path: Path, encodings: tuple[str, ...] = ("utf-8",)) -> Any:
    """Read a JSON file in the first encoding that fits. Raises DataError naming the file."""
    if not path.is_file():
        raise DataError(path, "does not exist", missing=True)
    content = path.read_bytes()
    for encoding in encodings:
        try:
            return json.loads(content.decode(encoding))
        except UnicodeDecodeError:
            continue
        except json.JSONDecodeError as error:
            raise DataError(path, f"is no JSON: {error}") from error
    raise DataError(path, f"is not written in {' or '.join(encodings)}")

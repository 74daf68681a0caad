"""Images of public data sets, each with all that is asked about it, to train on."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vltp_ros.data.entries import DataError, Entry
from vltp_ros.data.registry import DATASETS, load_dataset, reader_of
from vltp_ros.data.truths import Size


@dataclass(frozen=True)
class ImageExpressions:
    """An image that was read, and all expressions about it."""

    image: np.ndarray  # uint8 [H, W, 3] RGB
    entries: tuple[Entry, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the expressions."""
        return tuple(entry.text for entry in self.entries)

    def draw(self, number: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return what serves an expression, and what does not count, as Truth.draw does."""
        return self.entries[number].truth.draw((self.image.shape[0], self.image.shape[1]))


class ExpressionImages:
    """The images of one or more data sets; one that several have is one with all expressions."""

    def __init__(
        self,
        names: Sequence[str],
        root: Path,
        part: str,
        skip_bad: bool = False,
        without: Collection[Path] = (),
        option: str = "names",
    ) -> None:
        """Read and check annotations, without decoding images.

        Args:
            names: of data sets, each once.
            root: folder of all data sets.
            part: train, val or test, which the data sets must be for: parts never mix.
            skip_bad: leave out what is bad, rather than refuse it.
            without: images to leave out, e.g. those that a model is trained on.
            option: by which the names were given, for errors.

        Raises:
            ValueError: for a name that is unknown, of another part or given twice, or if no image
                is left.
            DataError: for annotations that are missing or bad, see load_dataset.
        """
        for name in names:
            reader, split = reader_of(name)
            if reader.splits[split] != part:
                allowed = [n for n, (r, s) in DATASETS.items() if r.splits[s] == part]
                raise ValueError(
                    f"{option} is {name}, which is for {reader.splits[split]}; "
                    f"allowed: {', '.join(allowed)}"
                )
        if len(set(names)) < len(names):
            raise ValueError(f"{option} is {' '.join(names)}; each once is allowed")
        self.names, self.root, self.skip_bad = tuple(names), root, skip_bad
        groups: defaultdict[tuple[Path, Size | None], list[Entry]] = defaultdict(list)
        for name in names:
            for entry in load_dataset(name, root, skip_bad).entries:
                groups[entry.image, entry.size].append(entry)
        self._groups = [group for key, group in groups.items() if key[0] not in without]
        self.left_out = len(groups) - len(self._groups)
        if not self._groups:
            raise ValueError(f"{option} is {' '.join(names)}, whose images are all trained on")

    @property
    def paths(self) -> set[Path]:
        """Return the files of the images."""
        return {group[0].image for group in self._groups}

    @cached_property
    def identity(self) -> str:
        """Return what tells these images and expressions from others, with a digest of them."""
        digest = hashlib.sha256()
        for group in self._groups:
            for entry in group:
                place = str(entry.image.relative_to(self.root))
                digest.update(json.dumps([place, entry.size, entry.text]).encode())
                digest.update(repr(entry.truth).encode())
        return f"{len(self)} images of {', '.join(self.names)} ({digest.hexdigest()[:12]})"

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._groups)

    def __getitem__(self, index: int) -> ImageExpressions:
        """Read an image; DataError if it cannot be, or has another size than stated."""
        return ImageExpressions(self._groups[index][0].pixels(), tuple(self._groups[index]))

    def readable(self, index: int) -> tuple[int, ImageExpressions]:
        """Read an image or, if bad ones are skipped, the first after it that can be read.

        Returns:
            The number of the image, and the image.

        Raises:
            DataError: for one that cannot be read, unless bad ones are skipped; then if none can.
        """
        for number in range(index, index + len(self)):
            try:
                return number % len(self), self[number % len(self)]
            except DataError:
                if not self.skip_bad:
                    raise
        raise DataError(self.root, f"none of {len(self)} images can be read")

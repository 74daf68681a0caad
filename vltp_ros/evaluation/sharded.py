"""An evaluation by several processes, on one machine or many, each of which may be killed.

A run is a directory with a file for each shard, shard-2-of-8.jsonl for example. Each start of a
process appends a line with what the run depends on, and with the hardware; each expression, in
their order, a line with what was measured. What a killed process wrote last may be cut off, and is
dropped when the shard goes on. Files of machines without a common disk are put into one directory.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from vltp_ros.evaluation.measurements import Measurement, read_measurement
from vltp_ros.training.run_options import refuse_other_options


@dataclass(frozen=True)
class Shard:
    """Every ``count``-th expression: they are dealt out in turn."""

    number: int  # from 1 on
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def numbers(self, total: int) -> range:
        """Return the 0-based numbers of its expressions, out of so many."""
        return range(self.number - 1, total, self.count)


def parse_shard(text: str) -> Shard:
    """Return the shard that "2/8" means; ValueError for another form."""
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if match is None or int(match[1]) > int(match[2]):
        raise ValueError(f"shard is {text!r}; it must be a number and how many there are, as 2/8")
    return Shard(int(match[1]), int(match[2]))


@dataclass
class _Content:
    """What a shard's file holds."""

    size: int  # bytes of its whole lines
    hardware: list[str] = field(default_factory=list)  # of each start
    measured: list[Measurement] = field(default_factory=list)


@dataclass(frozen=True)
class Collected:
    """What all shards hold together."""

    measured: list[Measurement]  # in the order of the expressions
    missing: list[dict]  # {"shard", "done", "count"} of those that lack expressions
    hardware: list[str]  # that they were measured on, each once


class ShardedRun:
    """The directory of an evaluation in some shards."""

    def __init__(
        self,
        directory: Path,
        options: Mapping[str, Any],
        image_ids: Sequence[str],
        settings: int,
        shards: int,
    ) -> None:
        """Take what all shards have in common; nothing is written.

        Args:
            directory: of the run.
            options: what the results depend on, by name.
            image_ids: of all expressions, in their order.
            settings: how many are compared.
            shards: how many there are.

        Raises:
            ValueError: for a directory with a run in another number of shards.
        """
        self.directory, self.image_ids, self.settings = directory, image_ids, settings
        self.options = json.loads(json.dumps(options))  # as it is read: no tuples
        self.shards = [Shard(number + 1, shards) for number in range(shards)]
        own = {self._path(shard) for shard in self.shards}
        if others := sorted(set(directory.glob("shard-*-of-*.jsonl")) - own):
            raise ValueError(
                f"{others[0]} is of another number of shards than {shards}; run as many processes "
                "as before, or give another --run"
            )

    def fill(
        self,
        shard: Shard,
        hardware: str,
        measure: Callable[[Sequence[int]], Iterable[Measurement]],
    ) -> None:
        """Measure what a shard lacks, and append it line by line.

        Args:
            shard: one of them.
            hardware: of this process, in words.
            measure: from numbers of expressions to what is measured, in their order.

        Raises:
            ValueError: for a file that another process writes, that is damaged or was begun with
                other options.
            OSError: naming the file, where nothing can be written; what was written stays.
        """
        path = self._path(shard)
        self.directory.mkdir(parents=True, exist_ok=True)
        with _opened_alone(path) as file:
            done = self._read(shard, file.read())
            left = shard.numbers(len(self.image_ids))[len(done.measured) :]
            if not left and done.hardware:
                return
            file.truncate(done.size)
            options = {**self.options, "--shard": str(shard)}
            _append(file, path, json.dumps({"options": options, "hardware": hardware}))
            for measured in measure(left):
                _append(file, path, measured.to_json())

    def collect(self) -> Collected:
        """Read the files of all shards.

        Raises:
            ValueError: naming file and line, for what is damaged or belongs to another run.
        """
        everything: list[Measurement] = []
        missing, hardware = [], []
        for shard in self.shards:
            path, count = self._path(shard), len(shard.numbers(len(self.image_ids)))
            content = self._read(shard, path.read_bytes() if path.is_file() else b"")
            everything += content.measured
            hardware += content.hardware
            if len(content.measured) < count:
                missing.append({"shard": str(shard), "done": len(content.measured), "count": count})
        everything.sort(key=lambda one: one.number)
        return Collected(everything, missing, list(dict.fromkeys(hardware)))

    def _path(self, shard: Shard) -> Path:
        return self.directory / f"shard-{shard.number}-of-{shard.count}.jsonl"

    def _read(self, shard: Shard, content: bytes) -> _Content:
        """Check and read the whole lines of a shard's file."""
        path, numbers = self._path(shard), iter(shard.numbers(len(self.image_ids)))
        whole = content[: content.rfind(b"\n") + 1]
        read = _Content(len(whole))
        for index, line in enumerate(whole.splitlines(), 1):
            place = f"{path} (line {index})"
            try:
                record = json.loads(line)
                if "options" not in record:
                    if not read.hardware:
                        raise ValueError("it does not say what the shard was begun with")
                    read.measured.append(self._measurement(record, next(numbers, None)))
                    continue
                options, hardware = dict(record["options"]), str(record["hardware"])
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{place} is damaged or of another run ({error}); remove the file to measure "
                    "the shard again"
                ) from error
            refuse_other_options({**self.options, "--shard": str(shard)}, options, place)
            read.hardware.append(hardware)
        return read

    def _measurement(self, record: dict, expected: int | None) -> Measurement:
        """Return what a line says; ValueError unless it is the one that is expected there."""
        measured = read_measurement(record, self.settings)
        if expected is None or measured.number != expected:
            wanted = "no expression" if expected is None else f"expression {expected}"
            raise ValueError(f"it is about expression {measured.number}; {wanted} is expected")
        if measured.image_id != self.image_ids[expected]:
            raise ValueError(
                f"it is about image {measured.image_id}; {self.image_ids[expected]} is expected"
            )
        return measured


@contextmanager
def _opened_alone(path: Path) -> Iterator[FileIO]:
    """Open a file to read and append; ValueError if another process does the same."""
    # Unbuffered: what could not be written is not written later, in the middle of something else.
    with FileIO(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{path} is written by another process") from error
        file.seek(0)
        yield file


def _append(file: FileIO, path: Path, line: str) -> None:
    """Write a line; OSError naming the file where that fails, as on a full disk."""
    rest = line.encode() + b"\n"
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error

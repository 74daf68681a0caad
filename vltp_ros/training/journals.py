"""The files in which a training writes down what it measures at each step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Protocol

from vltp_ros.processes import Process
from vltp_ros.training.run_directory import LOSSES, naming, replace_text


class Journal(Protocol):
    """One of them."""

    def write(self, step: int, measured: Mapping[str, float]) -> None:
        """Add what was measured at a step, by name."""

    def flush(self) -> None:
        """Hand all over to the system, which keeps it when the process is killed."""

    def close(self) -> None:
        """Hand over the rest, and close the file."""


class Journals:
    """Several of them, or none."""

    def __init__(self, journals: Sequence[Journal]) -> None:
        self._journals = journals

    def write(self, step: int, measured: Mapping[str, float]) -> None:
        """Add what was measured at a step, by name, to each."""
        rounded = {name: round(value, 5) for name, value in measured.items()}
        for journal in self._journals:
            journal.write(step, rounded)

    def flush(self) -> None:
        """Flush each."""
        for journal in self._journals:
            journal.flush()


@contextmanager
def open_journals(run: Path, start: int, process: Process) -> Iterator[Journals]:
    """Open the journals of a run, without the steps that are run again, and close them at last.

    Args:
        run: its directory.
        start: the first of these steps.
        process: this one; only the first of several writes.
    """
    with ExitStack() as stack:
        journals = [stack.enter_context(closing(LossLines(run, start)))] if process.is_first else []
        yield Journals(journals)


class LossLines:
    """losses.jsonl: a JSON object a line, with the step and what was measured by name."""

    def __init__(self, run: Path, start: int) -> None:
        """Open the file of a run, without the lines from ``start`` on."""
        self._path = run / LOSSES
        if self._path.is_file():
            lines = self._path.read_text().splitlines(keepends=True)
            replace_text(self._path, "".join(lines[:start]))
        self._file = self._path.open("a")

    def write(self, step: int, measured: Mapping[str, float]) -> None:
        """Add a line."""
        with naming(self._path):
            self._file.write(json.dumps({"step": step, **measured}) + "\n")

    def flush(self) -> None:
        """Hand over all lines."""
        with naming(self._path):
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with naming(self._path):
            self._file.close()

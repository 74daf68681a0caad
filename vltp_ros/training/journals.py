"""The files in which a training writes down what it measures at each step."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TextIO

from vltp_ros.paths import pip_command
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
def open_journals(
    run: Path, start: int, process: Process, logs: Sequence[str] = ()
) -> Iterator[Journals]:
    """Open the journals of a run, without the steps that are run again, and close them at last.

    losses.jsonl is always one of them. The others are made of it again, so that they say the same,
    whenever the run was killed and whenever they were first asked for.

    Args:
        run: its directory.
        start: the first of these steps.
        process: this one; only the first of several writes.
        logs: names in LOGS.

    Raises:
        OSError: naming the file that cannot be written.
    """
    if not process.is_first:
        yield Journals([])
        return
    with ExitStack() as stack:
        losses = stack.enter_context(closing(LossLines(run, start)))
        others = [stack.enter_context(closing(LOGS[name](run))) for name in logs]
        for line in losses.kept if others else []:
            measured = json.loads(line)
            for journal in others:
                journal.write(measured["step"], measured)
        yield Journals([losses, *others])


class TextJournal:
    """What journals that are one file of text have in common."""

    _path: Path
    _file: TextIO

    def flush(self) -> None:
        """Hand over all lines."""
        with naming(self._path):
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with naming(self._path):
            self._file.close()


class LossLines(TextJournal):
    """losses.jsonl: a JSON object a line, with the step and what was measured by name."""

    def __init__(self, run: Path, start: int) -> None:
        """Open the file of a run, without the lines from ``start`` on."""
        self._path = run / LOSSES
        self.kept: list[str] = []
        if self._path.is_file():
            self.kept = self._path.read_text().splitlines(keepends=True)[:start]
            replace_text(self._path, "".join(self.kept))
        self._file = self._path.open("a")

    def write(self, step: int, measured: Mapping[str, float]) -> None:
        """Add a line."""
        with naming(self._path):
            self._file.write(json.dumps({"step": step, **measured}) + "\n")


class CsvTable(TextJournal):
    """losses.csv: a row a step, with a column for each name; empty where it was not measured."""

    def __init__(self, run: Path) -> None:
        """Begin the file of a run anew."""
        self._path = run / "losses.csv"
        self._columns = ["step"]
        self._begin([])

    def write(self, step: int, measured: Mapping[str, float]) -> None:
        """Add a row, and the columns that were not there yet."""
        row = {**measured, "step": step}
        with naming(self._path):
            if not row.keys() <= set(self._columns):
                self._file.close()
                with self._path.open(newline="") as file:
                    rows = list(csv.DictReader(file))
                self._columns = list(dict.fromkeys([*self._columns, *row]))
                self._begin(rows)
            self._writer.writerow(row)

    def _begin(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the header and some rows, and go on after them."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        replace_text(self._path, text.getvalue())
        self._file = self._path.open("a", newline="")
        self._writer = csv.DictWriter(self._file, self._columns, lineterminator="\n")


class TensorBoard:
    """The folder tensorboard/: a scalar for each name, which TensorBoard draws over the steps."""

    def __init__(self, run: Path) -> None:
        """Begin the folder of a run anew."""
        from torch.utils.tensorboard import SummaryWriter  # an extra

        folder = run / "tensorboard"
        if folder.is_dir():
            shutil.rmtree(folder)
        self._writer = SummaryWriter(str(folder))

    def write(self, step: int, measured: Mapping[str, float]) -> None:
        """Add what was measured."""
        for name, value in measured.items():
            if name != "step":
                self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Hand over all scalars."""
        self._writer.flush()

    def close(self) -> None:
        """Close the file of the folder."""
        self._writer.close()


LOGS: dict[str, Callable[[Path], Journal]] = {"csv": CsvTable, "tensorboard": TensorBoard}
"""Name -> a journal beside losses.jsonl."""


def refuse_missing(logs: Sequence[str]) -> None:
    """Raise ModuleNotFoundError for a journal whose library is not installed."""
    if "tensorboard" in logs and find_spec("tensorboard") is None:
        raise ModuleNotFoundError(
            f"--log has tensorboard, which is not installed: {pip_command('tensorboard')}"
        )

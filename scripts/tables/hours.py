"""Tables about how long the papers' tables take at full size, counted from measured steps."""

from __future__ import annotations

from dataclasses import dataclass

from tables.markdown import measured, read, table

STEP_IMAGES = 20
"""The paper's batch."""

EPOCH = 500
"""Steps, as the authors' code has it for stage 0; nobody says how many an epoch of stage 1 has."""

TEST = 10_000
"""Expressions of a test, a round number."""


@dataclass(frozen=True)
class Work:
    """What a table needs that those above it have not trained or evaluated."""

    table: str
    trained: str
    adapters: int  # trainings of stage 0, of 10 epochs
    epochs: int  # of stage 1
    tests: int  # evaluations of a row on a test


WORKS = (
    Work("2", "LoRA on LLaVA, for RIO", 1, 0, 2),
    Work("3", "prune decoder alone, 5 epochs; with the mask decoder, 9", 0, 14, 3),
    Work("4", "70, 80 and 90 %, each 9 epochs from the model of 50 %", 0, 27, 14),
    Work("5", "seven more choices of layers and rates, 9 epochs each", 0, 63, 7),
    Work("6", "one stage at 50, 70 and 80 %, 9 epochs each", 0, 27, 3),
    Work("7", "mask decoders for random, CTS, DToP and SViT, 9 epochs each", 0, 36, 4),
    Work("8", "ViT-H for COCO-Tasks, ViT-L for both: LoRA, then 50 and 80 %", 3, 54, 12),
    Work("LVLM_CSP", "nothing; two presets, three selectors, two rivals, beside dense", 0, 0, 11),
)


@dataclass(frozen=True)
class Seconds:
    """How long a step of the paper's batch or an expression takes."""

    adapters: float
    pruned: float
    pruned_stored: float
    expression: float


@dataclass(frozen=True)
class Machine:
    """Where steps were measured."""

    rehearsal: str  # result file of vltp rehearse
    check: str | None = None  # of vltp check, whose sample is warm; None: the rehearsal's own

    def seconds(self) -> Seconds:
        """Return what was measured, for a step of the paper's."""
        answer = read(self.rehearsal)
        adapters, pruned, sample = answer["rows"][1:]
        times, milliseconds = sample["times_ms"], sum(sample["times_ms"].values())
        if self.check is not None:
            (row,) = (row for row in read(self.check)["rows"] if _is_sample(row))
            times, milliseconds = row["stages_ms"], row["median_ms"]
        scale = STEP_IMAGES / answer["batch"]
        stored = 1 - (times["reasoner"] + times["stem"]) / sum(times.values())
        return Seconds(
            scale * adapters["step_seconds"],
            scale * pruned["step_seconds"],
            scale * pruned["step_seconds"] * stored,
            milliseconds / 1000,
        )


MACHINES = {
    "two cores": Machine("rehearsal_7b_cpu.json"),
    "an H200": Machine("rehearsal_7b_h200.json", "check_h200.json"),
}
"""What the hours are counted on."""


def _is_sample(row: dict) -> bool:
    """Return whether a row of vltp check is what a rehearsal evaluates."""
    name = "frame 640x480, 1 task, fresh <SEG>, csp off, vit_h + 7b nf4"
    return row["name"] == name and row["rate"] == 0.5


def unit_times() -> str:
    """Tabulate how long a step and an expression take."""
    machines = [machine.seconds() for machine in MACHINES.values()]
    what = {
        "adapters": "step of stage 0",
        "pruned": "step of stage 1",
        "pruned_stored": "the same, `<SEG>` and tokens stored",
        "expression": "expression evaluated",
    }
    rows = [[what[key], *(_seconds(getattr(one, key)) for one in machines)] for key in what]
    return table(["seconds", *MACHINES], rows)


def _seconds(value: float) -> str:
    """Return seconds in so many digits as say something."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def hours() -> str:
    """Tabulate steps and hours for each of the papers' tables."""
    machines, rows, total = [machine.seconds() for machine in MACHINES.values()], [], None
    for work in WORKS:
        first, second = 10 * EPOCH * work.adapters, EPOCH * work.epochs
        values: list[float] = [first, second, work.tests]
        for one in machines:
            rest = first * one.adapters + TEST * work.tests * one.expression
            values += [(rest + second * one.pruned) / 3600]
            values += [(rest + second * one.pruned_stored) / 3600]
        total = values if total is None else [a + b for a, b in zip(total, values, strict=True)]
        rows.append([work.table, work.trained, *_cells(values)])
    rows.append(["all", "", *_cells(total)])
    times = [head for name in MACHINES for head in (f"hours on {name}", "with tokens stored")]
    head = ["table", "trained for it", "steps of stage 0", "of stage 1", "tests", *times]
    return table(head, rows)


def _cells(values: list) -> list[str]:
    """Return counts and hours as cells, empty for nothing."""
    counts = [f"{value:,}" if value else "" for value in values[:3]]
    return [*counts, *(f"{value:,.0f}" for value in values[3:])]


def rehearsal() -> str:
    """Tabulate what trainings and an evaluation at true size took, with random weights."""
    tables = []
    for machine in MACHINES.values():
        answer = read(machine.rehearsal)
        rows = [
            [row["name"], f"{row['seconds']:.1f}",
             f"{row['step_seconds']:.1f}" if "step_seconds" in row else "",
             f"{row['peak_mib'] / 1024:.1f}",
             f"{row['learning'] / 1e6:.1f} M" if "learning" in row else "",
             f"{row['checkpoint_mib']}" if "checkpoint_mib" in row else ""]
            for row in answer["rows"]
        ]  # fmt: skip
        count = answer["batch"]
        images = f"{count} image{'s' * (count > 1)} in a step"
        head = ["", "seconds", "of a step", "most memory, GiB", "learning", "checkpoint, MiB"]
        tables.append(table(head, rows) + measured(answer, images))
    return "\n".join(tables)

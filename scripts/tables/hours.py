"""Tables about how long the papers' tables take at full size.

Counted from steps where a rehearsal measured them, else from forwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tables.markdown import measured, read, table

STEP_IMAGES = 20
"""The paper's batch."""

EPOCH = 500
"""Steps, as the authors' code has it for stage 0; nobody says how many an epoch of stage 1 has."""

TEST = 10_000
"""Expressions of a test, a round number."""

TRAINED = 3
"""Forwards that a training step takes for what learns."""

MASK_DECODER_MS = 8.9
"""The paper's Table 1, on an RTX A6000; nobody has measured it alone on an H200."""


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
    """How long a step of 20 images or an expression takes."""

    adapters: float
    pruned: float
    pruned_stored: float
    expression: float


def of_steps(name: str) -> Seconds:
    """Return the seconds that a rehearsal measured, from its result file."""
    answer = read(name)
    adapters, pruned, sample = answer["rows"][1:]
    scale, times = STEP_IMAGES / answer["batch"], sample["times_ms"]
    whole = sum(times.values())
    stored = 1 - (times["reasoner"] + times["stem"]) / whole  # what is left of a sample's work
    return Seconds(
        scale * adapters["step_seconds"],
        scale * pruned["step_seconds"],
        scale * pruned["step_seconds"] * stored,
        whole / 1000,
    )


def of_forwards() -> Seconds:
    """Count the seconds on an H200 from what was measured of eager forwards of one image."""
    reasoner = read("reasoner_7b_nf4_h200.json")["rows"]
    encoder = read("encoder_vit_h_h200_bfloat16.json")["rows"]
    llava = _median(reasoner, "7b reasoner, eager", csp="off", tasks=1)
    dense = _median(encoder, "vit_h encoder, eager", rate=0.0)
    pruned = _median(encoder, "vit_h encoder, eager", rate=0.5)
    drawn = TRAINED * MASK_DECODER_MS
    image_ms = (
        dense + TRAINED * llava + drawn,
        llava + pruned + drawn,
        pruned - dense / 2 + drawn,  # without the blocks before the first stage, after layer 16
    )
    steps = (STEP_IMAGES * value / 1000 for value in image_ms)
    return Seconds(*steps, (llava + pruned + MASK_DECODER_MS) / 1000)


MACHINES: dict[str, Callable[[], Seconds]] = {
    "two cores, by steps": partial(of_steps, "rehearsal_7b_cpu.json"),
    "an H200, by forwards": of_forwards,
}
"""What the hours are counted on, and how."""


def _median(rows: list[dict], name: str, **wanted: object) -> float:
    """Return the median of the row of this name with the wanted values, ms."""
    wanted = {"name": name, **wanted}
    (row,) = (row for row in rows if all(row[key] == value for key, value in wanted.items()))
    return float(row["median_ms"])


def unit_times() -> str:
    """Tabulate how long a step and an expression take."""
    machines = [count() for count in MACHINES.values()]
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
    machines, rows, total = [count() for count in MACHINES.values()], [], None
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
    """Tabulate what a training and an evaluation at true size took, with random weights."""
    answer = read("rehearsal_7b_cpu.json")
    rows = [
        [row["name"], f"{row['seconds']:.0f}",
         f"{row['step_seconds']:.1f}" if "step_seconds" in row else "",
         f"{row['peak_mib'] / 1024:.1f}",
         f"{row['learning'] / 1e6:.1f} M" if "learning" in row else "",
         f"{row['checkpoint_mib']}" if "checkpoint_mib" in row else ""]
        for row in answer["rows"]
    ]  # fmt: skip
    head = ["", "seconds", "of a step", "most memory, GiB", "learning", "checkpoint, MiB"]
    counted = f"; counted by forwards of the sample, the steps would take {_by_rule(answer)}"
    return table(head, rows) + measured(answer, f"{answer['batch']} image in a step{counted}")


def _by_rule(answer: dict) -> str:
    """Return what the rule of :func:`of_forwards` says of a rehearsal's steps."""
    times = {name: value / 1000 for name, value in answer["rows"][-1]["times_ms"].items()}
    encoder, drawn = times["stem"] + times["pruned blocks"], TRAINED * times["mask decoder"]
    adapters = encoder + TRAINED * times["reasoner"] + drawn
    return f"{adapters:.0f} and {times['reasoner'] + encoder + drawn:.0f} s"

"""Tables about how long the papers' tables take at full size, counted from measured forwards."""

from __future__ import annotations

from dataclasses import dataclass

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
    """How long a step of 20 images or an expression takes on an H200."""

    adapters: float
    pruned: float
    pruned_stored: float
    expression: float


def seconds() -> Seconds:
    """Count the seconds from what was measured of eager forwards."""
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


def _median(rows: list[dict], name: str, **wanted: object) -> float:
    """Return the median of the row of this name with the wanted values, ms."""
    wanted = {"name": name, **wanted}
    (row,) = (row for row in rows if all(row[key] == value for key, value in wanted.items()))
    return float(row["median_ms"])


def unit_times() -> str:
    """Tabulate how long a step and an expression take, and what of it is a guess."""
    one = seconds()
    rows = [
        ["step of stage 0", "SAM's encoder once; LLaVA and mask decoder three times", one.adapters],
        ["step of stage 1", "LLaVA and the pruned encoder once; mask decoder three times",
         one.pruned],
        ["the same, `<SEG>` and tokens stored", "without LLaVA and the blocks before the stages",
         one.pruned_stored],
        ["expression evaluated", "everything once", one.expression],
    ]  # fmt: skip
    return table(["", "counted as", "seconds"], [[a, b, f"{c:.2g}"] for a, b, c in rows])


def hours() -> str:
    """Tabulate steps and hours for each of the papers' tables."""
    one, rows, total = seconds(), [], [0, 0, 0, 0.0, 0.0]
    for work in WORKS:
        first, second = 10 * EPOCH * work.adapters, EPOCH * work.epochs
        rest = first * one.adapters + TEST * work.tests * one.expression
        whole = (rest + second * one.pruned) / 3600
        stored = (rest + second * one.pruned_stored) / 3600
        values = [first, second, work.tests, whole, stored]
        total = [a + b for a, b in zip(total, values, strict=True)]
        rows.append([work.table, work.trained, *_cells(values)])
    rows.append(["all", "", *_cells(total)])
    head = ["table", "trained for it", "steps of stage 0", "of stage 1", "tests"]
    return table([*head, "hours", "with tokens stored"], rows)


def _cells(values: list) -> list[str]:
    """Return counts and hours as cells, empty for nothing."""
    counts = [f"{value:,}" if value else "" for value in values[:3]]
    return [*counts, *(f"{value:.0f}" for value in values[3:])]


def rehearsal() -> str:
    """Tabulate what a training and an evaluation at true size took, with random weights."""
    answer = read("rehearsal_7b_cpu.json")
    rows = [
        [row["name"], f"{row['seconds']:.0f}", f"{row['peak_mib'] / 1024:.1f}",
         f"{row['learning'] / 1e6:.1f} M" if "learning" in row else "",
         f"{row['checkpoint_mib']}" if "checkpoint_mib" in row else ""]
        for row in answer["rows"]
    ]  # fmt: skip
    head = ["", "seconds", "most memory, GiB", "learning", "checkpoint, MiB"]
    return table(head, rows) + measured(answer, f"{answer['batch']} image in a step")

"""The rows of the papers' tables: what each trains, how it is used, and what the paper prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from vltp_ros.network.config import SAM_ENCODERS, ModelConfig
from vltp_ros.network.csp import CSP_PRESETS, CspConfig, spans

PAPER = Path(__file__).with_name("paper_tables.json")

TableName = Literal["2", "3", "4", "5", "6", "7", "8", "csp"]
TABLE_NAMES = get_args(TableName)

TITLES: dict[TableName, str] = {
    "2": "dense models",
    "3": "training schemes, two stages at 50%",
    "4": "pruning rates, two stages",
    "5": "where tokens are pruned, in quarters of the depth, and how many",
    "6": "tokens judged once or again",
    "7": "pruning methods",
    "8": "sizes and rates, two stages",
    "csp": "LVLM_CSP: which image tokens LLaVA's layers process",
}

Method = Literal["VLTP", "random", "CTS", "DToP", "SViT"]

HALF, LATE = 2, 3
"""Quarters of the encoder's depth after which VLTP selects unless a row says otherwise: ViT-H's
layers 16 and 24."""

FIRST = 0.5
"""Rate of the training that those at other rates go on from."""

SEEDS = 3
"""Trainings of each row of Table 7."""

LEARN_KINDS: tuple[Method, ...] = ("CTS", "DToP")
"""Rivals that learn from the kind of object at each pixel."""

RIVAL_RATES: dict[Method, float] = {"random": 0.55, "CTS": 0.42, "DToP": 0.78, "SViT": 0.76}
"""Rival -> the rate of VLTP that costs the same or, at most 2 %, less."""


@dataclass(frozen=True)
class Training:
    """What is trained around a dense model whose encoder and LLaVA stay as they are."""

    method: Method = "VLTP"
    quarters: tuple[int, ...] = (HALF, LATE)
    rates: tuple[float, ...] = (FIRST, FIRST)
    """At each of VLTP's stages; a rival has its own."""
    scheme: Literal["both", "prune decoder", "direct"] = "both"
    """VLTP only: prune decoder and mask decoder, the prune decoder alone, or nothing at all."""
    seed: int = 0
    start: Training | None = None
    """What it goes on from; None: the dense model."""

    @property
    def name(self) -> str:
        """A name for its directory, which no other training has."""
        after = "-".join(map(str, self.quarters))
        rates = f" {_joined(self.rates)}" if self.method == "VLTP" else ""
        scheme = "" if self.scheme == "both" else f" {self.scheme}"
        begun = f" after {_joined(self.start.rates)}" if self.start else ""
        return f"{self.method} {after}{rates}{scheme}{begun} seed {self.seed}"


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    table: TableName
    label: str
    training: Training | None = None
    """None: the dense model as it is."""
    quarters: tuple[int, ...] = ()
    """Of the depth, after which VLTP selects; () prunes nothing."""
    rates: tuple[float, ...] = ()
    """At each stage."""
    another: bool = False
    """Rank by the <SEG> of the image's next question."""
    returns: bool = True
    """Whether tokens may come back at a later stage."""
    csp: CspConfig | None = None
    """Which image tokens LLaVA's layers process."""
    paper: tuple[tuple[str, float], ...] = ()
    """The paper's mIoU in percent, by data: common, uncommon (both RIO's), coco-tasks."""

    @property
    def name(self) -> str:
        """A name for its file: rows that differ in table and label only are measured once."""
        parts = [self.training.name if self.training else "dense"]
        if self.training and self.rates not in ((), self.training.rates):
            parts.append(f"at {_joined(self.rates)}")
        if self.csp:
            parts.append("csp " + "-".join(map(str, vars(self.csp).values())))
        parts += ["another"] * self.another + ["none return"] * (not self.returns)
        return ", ".join(parts)


def paper_rows(
    tables: Sequence[TableName], seeds: int = SEEDS, size: str | None = None
) -> list[Row]:
    """Return the rows of some tables, in the papers' order, after the dense model of Table 3.

    Of Tables 2 and 8 these are the rows of one size of SAM.

    Args:
        tables: which.
        seeds: number of trainings of each row of Table 7.
        size: vit_b, vit_l or vit_h, whose figures the paper has; None: another.
    """
    printed = json.loads(PAPER.read_text())
    schemes = printed["table3_training_scheme_rio_common"]
    makers: dict[TableName, Callable[[], Iterator[Row]]] = {
        "2": lambda: _table2(printed["table2_rio"], size),
        "3": lambda: _table3(schemes[1:]),
        "4": lambda: _table4(printed["table4_rates_at_16_24"]),
        "5": lambda: _table5(printed["table5_positions_rio_common"]),
        "6": lambda: _table6(printed["table6_reactivation_rio_common"]),
        "7": lambda: _table7(printed["table7_methods_rio_common"], seeds),
        "8": lambda: _table8(printed["table8_main"], size),
        "csp": _csp,
    }
    rows = (row for table in tables for row in makers[table]())
    return [_common(Row("3", "dense"), schemes[0]), *rows]


def trained_at(*rates: float, quarters: tuple[int, ...] = (HALF, LATE)) -> Training:
    """Return the training at some rates from the dense model on; one rate is that of all stages."""
    return Training(quarters=quarters, rates=rates if len(rates) > 1 else rates * len(quarters))


def trained_on(rate: float) -> Training:
    """Return the training at a rate, as Table 4 has it: from that at FIRST on."""
    first = trained_at(FIRST)
    return first if rate == FIRST else replace(trained_at(rate), start=first)


def _vltp(table: TableName, label: str, training: Training, *, rate: float | None = None) -> Row:
    """Return a row of VLTP at the rates that it was trained for, or at another one."""
    rates = training.rates if rate is None else (rate,) * len(training.quarters)
    return Row(table, label, training, training.quarters, rates)


def _common(row: Row, entry: dict) -> Row:
    """Return a row with what the paper prints of it on RIO's common test."""
    return replace(row, paper=(("common", entry["miou"]),))


def _table2(entries: list[dict], size: str | None) -> Iterator[Row]:
    paper = [_figures(entry) for entry in entries if size and entry.get("sam") == size]
    yield Row("2", "dense", paper=paper[0] if paper else ())


def _table3(entries: list[dict]) -> Iterator[Row]:
    both = trained_at(FIRST)
    rows = (
        _vltp("3", "direct", replace(both, scheme="direct")),
        _vltp("3", "prune decoder alone", replace(both, scheme="prune decoder")),
        _vltp("3", "both", both),
    )
    return (_common(*pair) for pair in zip(rows, entries, strict=True))


def _table4(entries: list[dict]) -> Iterator[Row]:
    for entry in entries:
        rate, used = entry["rate"], None
        training = trained_on(rate)
        label = f"{rate:.0%} trained on" if training.start else f"trained at {rate:.0%}"
        if entry["training"] == "zero shot":
            training, used, label = trained_at(FIRST), rate, f"{rate:.0%} untrained"
        yield replace(_vltp("4", label, training, rate=used), paper=_figures(entry))


def _table5(entries: list[dict]) -> Iterator[Row]:
    for entry in entries:
        quarters = quarters_of(entry["after_layers"])
        if not quarters:
            yield _common(Row("5", "dense"), entry)
            continue
        after = ", ".join(("1/4", "1/2", "3/4")[quarter - 1] for quarter in quarters)
        label = f"after {after} at {', '.join(f'{rate:.0%}' for rate in entry['rates'])}"
        yield _common(_vltp("5", label, trained_at(*entry["rates"], quarters=quarters)), entry)


def _table6(entries: list[dict]) -> Iterator[Row]:
    for entry in entries:
        quarters, rate = quarters_of(entry["after_layers"]), entry["rates"][0]
        stages = "one stage" if len(quarters) == 1 else "two stages"
        training = trained_at(rate, quarters=quarters)
        yield _common(_vltp("6", f"{stages} at {rate:.0%}", training), entry)
    stay_away = _vltp("6", "two stages at 80%, none return", trained_at(0.8))
    yield replace(stay_away, returns=False)


def _table7(entries: list[dict], seeds: int) -> Iterator[Row]:
    printed = {entry["method"].removesuffix(" 50%"): entry for entry in entries}
    yield _common(Row("7", "dense"), printed["baseline"])
    for seed in range(seeds):
        for method, rate in RIVAL_RATES.items():
            yield _common(Row("7", method, Training(method, seed=seed)), printed[method])
            own = replace(trained_at(rate), seed=seed)
            yield _vltp("7", f"VLTP beside {method}", own)
    yield _common(_vltp("7", "VLTP at 80%", trained_on(0.8)), printed["VLTP"])
    another = _vltp("7", "ranked by another task", trained_at(RIVAL_RATES["SViT"]))
    yield replace(another, another=True)


def _table8(entries: list[dict], size: str | None) -> Iterator[Row]:
    paper = {entry["rate"]: _figures(entry) for entry in entries if entry["sam"] == size}
    yield Row("8", "dense", paper=paper.get(0.0, ()))
    for rate in (0.5, 0.8):
        row = _vltp("8", f"VLTP at {rate:.0%}", trained_on(rate))
        yield replace(row, paper=paper.get(rate, ()))


def other_rows(table: TableName, sizes: Sequence[str | None]) -> list[Row]:
    """Return what the paper prints of other models in Tables 2 and 8; the others have none.

    Args:
        table: its name.
        sizes: of SAM, which were measured here.
    """
    printed = json.loads(PAPER.read_text())
    entries = {"2": printed["table2_rio"], "8": printed["table8_main"]}.get(table, [])
    rows = []
    for entry in entries:
        if "method" in entry or entry["sam"] not in sizes:
            name = entry.get("method") or f"SAM ViT-{entry['sam'][-1].upper()}"
            rate = f" at {entry['rate']:.0%}" if entry.get("rate") else ""
            rows.append(Row(table, name + rate, paper=_figures(entry)))
    return rows


def size_of(config: ModelConfig) -> str | None:
    """Return which of the paper's sizes of SAM a model has; None for another."""
    sizes = ("vit_b", "vit_l", "vit_h")
    return next((size for size in sizes if SAM_ENCODERS[size] == config.encoder), None)


def _figures(entry: dict) -> tuple[tuple[str, float], ...]:
    """Return an entry's figures by the data that they are of."""
    names = {"coco_tasks": "coco-tasks"}
    columns = ("common", "uncommon", "rio_common", "rio_uncommon", "coco_tasks")
    return tuple(
        (names.get(column, column.removeprefix("rio_")), entry[column])
        for column in columns
        if column in entry
    )


def _csp() -> Iterator[Row]:
    for name, preset in CSP_PRESETS.items():
        yield Row("csp", f"preset {name}", csp=preset)
        for selector in ("random", "cls"):
            yield Row("csp", f"preset {name}, {selector}", csp=replace(preset, selector=selector))
        yield Row("csp", f"pruning alone, as {name}", csp=pruning_alone(preset))
        yield Row("csp", f"clustering alone, as {name}", csp=clustering_alone(preset))


def quarters_of(layers: Sequence[int]) -> tuple[int, ...]:
    """Return the quarters of ViT-H's depth that some of its layers end."""
    return tuple(layer // 8 for layer in layers)


LAYERS, TOKENS = 8, 256
"""Of the crowded LLaVA, in which the rivals of a preset get as many image tokens on average."""


def pruning_alone(preset: CspConfig) -> CspConfig:
    """Return FastV's scheme: all tokens in the first layers, two of 32, and few in the rest."""
    first = max(1, round(LAYERS / 16)) / LAYERS
    kept = (mean_share(preset) - first) / (1 - first)
    return CspConfig(scatter_from=0.0, prune_from=first, kept=kept)


def clustering_alone(preset: CspConfig) -> CspConfig:
    """Return the same representatives in all layers."""
    return CspConfig(scatter_from=1.0, prune_from=1.0, clustered=mean_share(preset))


def mean_share(config: CspConfig) -> float:
    """Return the share of the image tokens that a layer processes, mean over the layers."""
    per_layer = spans(config, LAYERS, TOKENS).tokens_per_layer(LAYERS, TOKENS)
    return sum(per_layer) / (LAYERS * TOKENS)


def _joined(rates: tuple[float, ...]) -> str:
    """Return rates by name, those that are alike once."""
    return "-".join(f"{rate:g}" for rate in (rates[:1] if len(set(rates)) == 1 else rates))

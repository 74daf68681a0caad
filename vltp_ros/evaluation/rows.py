"""The rows of the papers' tables on crowded scenes: what each trains, and how it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from vltp_ros.network.csp import CSP_PRESETS, CspConfig, spans

TableName = Literal["3", "4", "5", "6", "7", "csp"]
TABLE_NAMES = get_args(TableName)

Method = Literal["VLTP", "random", "CTS", "DToP", "SViT"]

STAGES = (4, 6)
"""Layers of eight, as in what ships."""

SEEDS = (0, 1, 2)
"""Of the trainings of Table 7."""

RIVAL_RATES: dict[Method, float] = {"random": 0.55, "CTS": 0.42, "DToP": 0.78, "SViT": 0.76}
"""Rival -> the rate of VLTP that costs the same or, at most 2 %, less."""


@dataclass(frozen=True)
class Training:
    """What is trained around a dense model whose encoder and LLaVA stay as they are."""

    method: Method = "VLTP"
    stages: tuple[int, ...] = STAGES
    rate: float = 0.5
    """Of VLTP's stages; a rival has its own."""
    scheme: Literal["both", "prune decoder", "direct"] = "both"
    """VLTP only: prune decoder and mask decoder, the prune decoder alone, or nothing at all."""
    seed: int = 0
    start: Training | None = None
    """What it goes on from; None: the dense model."""

    @property
    def name(self) -> str:
        """A name for its directory, which no other training has."""
        layers = "-".join(map(str, self.stages))
        rate = f" {self.rate:g}" if self.method == "VLTP" else ""
        scheme = "" if self.scheme == "both" else f" {self.scheme}"
        begun = f" after {self.start.rate:g}" if self.start else ""
        return f"{self.method} {layers}{rate}{scheme}{begun} seed {self.seed}"


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    table: TableName
    label: str
    training: Training | None = None
    """None: the dense model as it is."""
    stages: tuple[int, ...] = ()
    """Where VLTP selects; () prunes nothing."""
    rate: float = 0.0
    """At each stage."""
    another: bool = False
    """Rank by the <SEG> of the scene's next question."""
    returns: bool = True
    """Whether tokens may come back at a later stage."""
    csp: CspConfig | None = None
    """Which image tokens LLaVA's layers process."""

    @property
    def name(self) -> str:
        """A name for its file, which no other row has."""
        seed = f", seed {self.training.seed}" if self.training else ""
        return f"{self.table}: {self.label}{seed}"


def paper_rows(tables: Sequence[TableName]) -> list[Row]:
    """Return the rows of some tables, the dense model first."""
    makers = {"3": _table3, "4": _table4, "5": _table5, "6": _table6, "7": _table7, "csp": _csp}
    return [Row("3", "dense"), *(row for table in tables for row in makers[table]())]


def _vltp(table: TableName, label: str, training: Training, rate: float | None = None) -> Row:
    """Return a row of VLTP at the rate that it was trained for, or at another one."""
    used = training.rate if rate is None else rate
    return Row(table, label, training, training.stages, used)


def _table3() -> list[Row]:
    alone = Training(scheme="prune decoder")
    return [
        _vltp("3", "direct", Training(scheme="direct")),
        _vltp("3", "prune decoder alone", alone),
        _vltp("3", "both", Training()),
    ]


def _table4() -> list[Row]:
    base = Training()
    rows = [_vltp("4", "trained at 50%", base)]
    for rate in (0.7, 0.8, 0.9):
        rows += [
            _vltp("4", f"{rate:.0%} untrained", base, rate),
            _vltp("4", f"{rate:.0%} trained on", Training(rate=rate, start=base)),
        ]
    return rows


def _table5() -> list[Row]:
    settings = [((2,), 0.4), ((2, 4), 0.4), ((4, 6), 0.5), ((4, 6), 0.8), ((2, 4, 6), 0.4)]
    return [
        _vltp("5", f"after {', '.join(map(str, s))} at {r:.0%}", Training(stages=s, rate=r))
        for s, r in settings
    ]


def _table6() -> list[Row]:
    rows = []
    for rate in (0.5, 0.7, 0.8):
        rows += [
            _vltp("6", f"one stage at {rate:.0%}", Training(stages=STAGES[:1], rate=rate)),
            _vltp("6", f"two stages at {rate:.0%}", Training(rate=rate)),
        ]
    stay_away = _vltp("6", "two stages at 80%, none return", Training(rate=0.8))
    return [*rows, replace(stay_away, returns=False)]


def _table7() -> list[Row]:
    rows = []
    for seed in SEEDS:
        for method, rate in RIVAL_RATES.items():
            rows.append(Row("7", method, Training(method, seed=seed)))
            own = Training(rate=rate, seed=seed)
            rows.append(_vltp("7", f"VLTP beside {method}", own))
    another = _vltp("7", "ranked by another task", Training(rate=RIVAL_RATES["SViT"]))
    return [*rows, replace(another, another=True)]


def _csp() -> list[Row]:
    rows = []
    for name, preset in CSP_PRESETS.items():
        rows.append(Row("csp", f"preset {name}", csp=preset))
        rows += [
            Row("csp", f"preset {name}, {selector}", csp=replace(preset, selector=selector))
            for selector in ("random", "cls")
        ]
        rows.append(Row("csp", f"pruning alone, as {name}", csp=pruning_alone(preset)))
        rows.append(Row("csp", f"clustering alone, as {name}", csp=clustering_alone(preset)))
    return rows


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

"""The cost columns of the paper's tables beside what is counted here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch

from vltp_ros.evaluation.baselines import BASELINES
from vltp_ros.evaluation.flops import count_gmacs, model_gmacs
from vltp_ros.evaluation.rows import PAPER
from vltp_ros.network.config import DEFAULT_PRUNE_AFTER, model_config
from vltp_ros.network.sam import PrunedSam
from vltp_ros.progress import progress_bar

COCO_KINDS = 80


@dataclass(frozen=True)
class CostRow:
    """One row of one of the paper's tables: cost of one image and one task."""

    table: int  # its number in the paper
    label: str
    paper_gmacs: float  # the lowest where the paper gives one for each data set
    gmacs: float  # ours, prune decoder included
    exempt: bool  # the paper's figure follows from no cost model

    @property
    def fits(self) -> bool:
        """Return whether ours is at or below every figure of the paper."""
        return self.gmacs <= self.paper_gmacs


@dataclass(frozen=True)
class Table:
    """How to read one of the paper's tables, and to count its rows."""

    key: str  # in the file
    title: str
    count: Callable[[dict], tuple[str, float]]  # row -> label and our GMACs


def cost_rows() -> list[CostRow]:
    """Count the rows of Tables 3-8 on the real modules, in the paper's order.

    That takes some seconds.
    """
    paper = json.loads(PAPER.read_text())
    entries = [(number, entry) for number, table in TABLES.items() for entry in paper[table.key]]
    rows = []
    for number, entry in progress_bar(entries, unit="row"):
        label, gmacs = TABLES[number].count(entry)
        printed = entry["gmacs"]
        lowest = min(printed) if isinstance(printed, list) else printed
        rows.append(CostRow(number, label, lowest, gmacs, "note" in entry))
    return rows


def vltp_gmacs(sam: str, prune_after: Sequence[int], rates: Sequence[float]) -> float:
    """Count the GMACs of encoder and prune decoder."""
    return _count(sam, tuple(prune_after), tuple(rates))["gmacs"]


@cache
def baseline_gmacs(name: str) -> float:
    """Count the GMACs of one of BASELINES around ViT-H, its own network included.

    Those whose number of tokens follows the image are counted at their mean, at each stage.
    """
    config = model_config("vit_h")
    stages, side = config.pruning.prune_after, config.encoder.img_size
    method, rate = BASELINES[name]
    with torch.device("meta"):
        baseline = method(PrunedSam(config).encoder(stages), COCO_KINDS, rate)
        square = torch.zeros(1, 3, side, side)
        tokens = torch.zeros(1, config.encoder.grid**2, config.encoder.embed_dim)
    if not baseline.judges:
        return count_gmacs(lambda: baseline(square))[1]
    counted = _count("vit_h", stages, (rate,) * len(stages))
    judging = count_gmacs(lambda: [judge(tokens) for judge in baseline.judges])[1]
    return counted["gmacs"] - len(stages) * counted["prune_decoder_gmacs"] + judging


@cache
def _count(sam: str, prune_after: tuple[int, ...], rates: tuple[float, ...]) -> dict:
    """Count the cost of a size, once for each setting."""
    return model_gmacs(model_config(sam), prune_after, rates)


def _at_default_layers(sam: str, rate: float) -> float:
    """Count the GMACs at one rate after half and three quarters of the depth; 0 prunes nothing."""
    stages = DEFAULT_PRUNE_AFTER[sam] if rate else ()
    return vltp_gmacs(sam, stages, (rate,) * len(stages))


def _scheme(entry: dict) -> tuple[str, float]:
    """Count a row of Table 3, whose pruned rows differ in training, not in cost."""
    rate = 0.0 if entry["method"] == "baseline" else 0.5
    return entry["method"], _at_default_layers("vit_h", rate)


def _rate(entry: dict) -> tuple[str, float]:
    """Count a row of Table 4."""
    label = f"{entry['rate']:.0%}, {entry['training']}"
    return label, _at_default_layers("vit_h", entry["rate"])


def _positions(entry: dict) -> tuple[str, float]:
    """Count a row of Tables 5 and 6."""
    stages, rates = entry["after_layers"], entry["rates"]
    layers = ", ".join(map(str, stages))
    shares = ", ".join(f"{rate:.0%}" for rate in rates)
    label = f"{{{layers}}} {{{shares}}}" if stages else "baseline"
    return label, vltp_gmacs("vit_h", stages, rates)


def _method(entry: dict) -> tuple[str, float]:
    """Count a row of Table 7."""
    name = entry["method"]
    if name in ("baseline", "VLTP"):
        return name, _at_default_layers("vit_h", 0.8 if name == "VLTP" else 0.0)
    return name, baseline_gmacs(name.removesuffix(" 50%"))


def _size(entry: dict) -> tuple[str, float]:
    """Count a row of Table 8."""
    share = f"{entry['rate']:.0%}" if entry["rate"] else "dense"
    label = f"ViT-{entry['sam'][-1].upper()}, {share}"
    return label, _at_default_layers(entry["sam"], entry["rate"])


TABLES = {
    3: Table("table3_training_scheme_rio_common", "training schemes, ViT-H {16, 24}", _scheme),
    4: Table("table4_rates_at_16_24", "pruning rates, ViT-H {16, 24}", _rate),
    5: Table("table5_positions_rio_common", "pruning positions and rates, ViT-H", _positions),
    6: Table("table6_reactivation_rio_common", "tokens judged once or again, ViT-H", _positions),
    7: Table("table7_methods_rio_common", "pruning methods, ViT-H", _method),
    8: Table("table8_main", "main results, ViT-H {16, 24} and ViT-L {12, 18}", _size),
}
"""Number in the paper -> table."""

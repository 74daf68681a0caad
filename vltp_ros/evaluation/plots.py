"""Plots of what training runs and measurements left behind."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vltp_ros.training.run_directory import LOSSES

SMOOTHED = 50
"""A curve's points are means over this part of its run."""

WIDTH, PANEL_HEIGHT, BAR_HEIGHT, LINE_HEIGHT = 9.0, 4.0, 0.32, 0.14  # inches
DOTS_PER_INCH = 120
TITLE_LENGTH, LABEL_LENGTH = 70, 44  # characters of a line


@dataclass(frozen=True)
class Curve:
    """What a training run stored, by step."""

    name: str
    steps: np.ndarray  # int64 [N], 1-based
    losses: np.ndarray  # float64 [N]
    measured: dict[str, tuple[list[int], list[float]]]  # steps and values of what was validated


@dataclass(frozen=True)
class Bars:
    """The rows of a result file."""

    title: str
    axis: str  # with its unit
    labels: list[str]
    parts: dict[str, list[float]]  # name -> its share of each row's value; one alone has no name
    baselines: list[float | None]  # of the code that is compared with, in the same unit

    @property
    def height(self) -> float:
        """Inches that they need, with title and axis."""
        lines = max(len(textwrap.wrap(label, LABEL_LENGTH)) for label in self.labels)
        return 1.4 + len(self.labels) * (BAR_HEIGHT + LINE_HEIGHT * (lines - 1))


def draw_plots(sources: Sequence[Path], out: Path) -> int:
    """Draw runs and results as one PNG; return the number of its panels.

    All runs share a panel for their losses and, where they were validated, one for their gIoU;
    each file of results has its own, and another one for the stages that its rows name.

    Args:
        sources: directories of training runs, and JSON files of commands.
        out: PNG to write, whole or not at all.

    Raises:
        ModuleNotFoundError: without matplotlib.
        ValueError: for no source, or one that holds nothing to draw.
    """
    if not sources:
        raise ValueError("there is nothing to plot; give runs or JSON files of results")
    from matplotlib.figure import Figure  # an extra: whoever has none plots nothing

    curves = [read_run(source) for source in sources if source.is_dir()]
    results = [bars for source in sources if not source.is_dir() for bars in read_results(source)]
    validated = [curve for curve in curves if "giou" in curve.measured]
    heights = [PANEL_HEIGHT] * (bool(curves) + bool(validated))
    heights += [bars.height for bars in results]
    figure = Figure((WIDTH, sum(heights)), dpi=DOTS_PER_INCH, layout="constrained")
    panels = iter(figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0])
    if curves:
        _draw_losses(next(panels), curves)
    if validated:
        _draw_giou(next(panels), validated)
    for bars, panel in zip(results, panels, strict=True):
        _draw_bars(panel, bars)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial_file = out.with_suffix(".part")
    figure.savefig(partial_file, format="png")
    os.replace(partial_file, out)
    return len(heights)


def read_run(directory: Path) -> Curve:
    """Read a training run's losses; ValueError for a directory that has none."""
    path = directory / LOSSES
    if not path.is_file():
        raise ValueError(f"{path} does not exist; give the --run of a training")
    text = path.read_text()
    # A run that goes on may have written half of its last line.
    lines = text[: text.rfind("\n") + 1].splitlines()
    try:
        rows = [json.loads(line) for line in lines]
        losses = np.array([row["loss"] for row in rows], np.float64)
        steps = np.array([row["step"] + 1 for row in rows], np.int64)
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path} does not hold a training's losses: {error!r}") from error
    if not rows:
        raise ValueError(f"{path} is empty yet")
    measured = {}
    for name in ("loss", "giou"):
        validated = [row for row in rows if f"val_{name}" in row]
        if validated:
            values = [row[f"val_{name}"] for row in validated]
            measured[name] = ([row["step"] + 1 for row in validated], values)
    return Curve(str(directory), steps, losses, measured)


def read_results(path: Path) -> list[Bars]:
    """Read what a command printed with --json; ValueError for what has no times and no gIoU."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist; give a run or a file of results")
    try:
        answer = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    answer = answer if isinstance(answer, dict) else {}
    rows = [
        row for row in answer.get("stages") or answer.get("rows") or [] if isinstance(row, dict)
    ]
    title = ", ".join([path.stem, *filter(None, [answer.get("model"), answer.get("hardware")])])
    results = []
    if timed := [row for row in rows if row.get("median_ms") is not None]:
        baselines = [row.get("baseline_ms") for row in timed]
        parts = {"": [row["median_ms"] for row in timed]}
        results.append(Bars(title, "median time (ms)", _labels(timed), parts, baselines))
    if staged := [row for row in rows if row.get("stages_ms")]:
        in_order = sorted((row["stages_ms"] for row in staged), key=len, reverse=True)
        names = dict.fromkeys(name for stages in in_order for name in stages)
        parts = {name: [row["stages_ms"].get(name, 0.0) for row in staged] for name in names}
        axis = "median time of each stage (ms)"
        results.append(Bars(f"{title}: stages", axis, _labels(staged), parts, [None] * len(staged)))
    if scored := [row for row in rows if row.get("giou") is not None]:
        parts = {"": [row["giou"] for row in scored]}
        results.append(Bars(title, "gIoU (0 to 1)", _labels(scored), parts, [None] * len(scored)))
    if not results:
        raise ValueError(
            f"{path} has no rows with median_ms or giou; allowed: the JSON of vltp benchmark "
            "encoder or reasoner, check, evaluate, baselines, rows or demo"
        )
    return results


def _labels(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return what tells rows of results from each other."""
    return [_label(row) for row in rows]


def _label(row: dict[str, Any]) -> str:
    """Return what tells a row of results from the others."""
    names = ("name", "method", "selector", "label", "family", "control")
    words = [str(row[name]) for name in names if row.get(name) not in (None, "none")]
    if row.get("rate") is not None:
        words.append(f"rate {row['rate']:g}")
    if row.get("csp") not in (None, "off"):
        words.append(f"csp {row['csp']}")
    if "tasks" in row and "task" not in str(row.get("name")):
        words.append(f"{row['tasks']} task" + "s" * (row["tasks"] > 1))
    return ", ".join(words)


def _draw_losses(panel: Any, curves: Sequence[Curve]) -> None:
    """Draw each run's loss at each step, faint, its running mean, and what was validated."""
    for number, curve in enumerate(curves):
        colour = f"C{number}"
        window = max(1, len(curve.losses) // SMOOTHED)
        mean = np.convolve(curve.losses, np.full(window, 1 / window), "valid")
        panel.plot(curve.steps, curve.losses, color=colour, alpha=0.2, linewidth=0.7)
        label = f"{curve.name}, mean of {window} steps" if window > 1 else curve.name
        panel.plot(curve.steps[window - 1 :], mean, color=colour, label=label)
        if "loss" in curve.measured:
            label = f"{curve.name}, held-out scenes"
            panel.plot(*curve.measured["loss"], "o--", color=colour, markersize=4, label=label)
    panel.set(title="Loss", xlabel="step", ylabel="loss")
    panel.grid(alpha=0.3)
    panel.legend(fontsize="small")


def _draw_giou(panel: Any, curves: Sequence[Curve]) -> None:
    """Draw the gIoU that each run measured on held-out scenes."""
    for curve in curves:
        panel.plot(*curve.measured["giou"], "o-", markersize=4, label=curve.name)
    panel.set(title="gIoU on held-out scenes", xlabel="step", ylabel="gIoU (0 to 1)", ylim=(0, 1))
    panel.grid(alpha=0.3)
    panel.legend(fontsize="small")


def _draw_bars(panel: Any, bars: Bars) -> None:
    """Draw results as bars from the top down, each with its number; baselines as frames."""
    places, ends = range(len(bars.labels)), np.zeros(len(bars.labels))
    for name, values in bars.parts.items():
        drawn = panel.barh(places, values, left=ends, height=0.7, label=name)
        ends = ends + values
    panel.bar_label(drawn, [f"{value:.3g}" for value in ends], padding=3, fontsize="small")
    if len(bars.parts) > 1:
        panel.legend(ncols=3, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.25))
    frames = [(place, value) for place, value in zip(places, bars.baselines, strict=True) if value]
    if frames:
        rows, widths = zip(*frames, strict=True)
        panel.barh(rows, widths, height=0.7, fill=False, edgecolor="C3")
    axis = f"{bars.axis}; red frame: the code compared with" if frames else bars.axis
    panel.set(title=textwrap.fill(bars.title, TITLE_LENGTH), xlabel=axis)
    labels = [textwrap.fill(label, LABEL_LENGTH) for label in bars.labels]
    panel.set_yticks(places, labels, fontsize="small")
    panel.invert_yaxis()
    panel.set_xlim(0, 1.12 * max(*ends, *(value or 0.0 for value in bars.baselines)))
    panel.grid(axis="x", alpha=0.3)

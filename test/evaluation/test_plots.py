"""Plots of runs and results: what they are made of, and that they come out whole."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from vltp_ros.cli.plot import Plot, run
from vltp_ros.evaluation.plots import read_results, read_run
from vltp_ros.imaging.pictures import read_picture

BENCHMARKS = Path(__file__).parents[2] / "docs" / "benchmarks"


@pytest.fixture
def trained(tmp_path):
    """A run of 120 steps, validated twice, that is writing a line."""
    directory = tmp_path / "run"
    directory.mkdir()
    rows = [{"step": step, "loss": 1 / (step + 1)} for step in range(120)]
    for step, giou in ((59, 0.4), (119, 0.6)):
        rows[step] |= {"val_loss": 0.5, "val_giou": giou}
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (directory / "losses.jsonl").write_text(lines + '{"step": 120, "lo')
    return directory


def test_a_run_is_its_losses_and_what_was_measured(trained):
    curve = read_run(trained)
    assert curve.steps.tolist() == list(range(1, 121)) and curve.losses[1] == 0.5
    assert curve.measured == {"loss": ([60, 120], [0.5, 0.5]), "giou": ([60, 120], [0.4, 0.6])}


def test_results_are_bars_with_their_units():
    times, stages = read_results(BENCHMARKS / "check_cpu.json")
    assert times.axis == "median time (ms)" and "AMD EPYC" in times.title
    place = times.labels.index("tabletop encoder, eager, rate 0.5")
    assert times.parts[""][place] == 166.41 and times.baselines[place] is None
    assert list(stages.parts)[:4] == ["preprocess", "reasoner", "stem", "pruned blocks"]
    assert stages.parts["pruned blocks"][0] == 0 < stages.parts["pruned blocks"][1]
    (scores,) = read_results(BENCHMARKS / "tabletop_test.json")
    assert scores.axis == "gIoU (0 to 1)" and scores.labels[1] == "prune_decoder, rate 0.5"
    (times,) = read_results(BENCHMARKS / "demo.json")
    assert "mask decoder" in times.labels


def test_a_picture_has_a_panel_for_each(trained, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is missing: pip install '.[plot]'")
    out = tmp_path / "new" / "plot.png"
    heights = []
    for sources, panels in (((trained,), 2), ((trained, BENCHMARKS / "check_cpu.json"), 4)):
        assert run(Plot(sources=sources, out=out)) == {"out": str(out), "panels": panels}
        picture = read_picture(out)
        heights.append(picture.shape[0])
        assert picture.min() < 50 and np.median(picture) == 255
    assert heights[1] > 1.5 * heights[0] and [p.name for p in out.parent.iterdir()] == ["plot.png"]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("losses.jsonl", None, r"losses\.jsonl does not exist; give the --run of a training"),
        ("losses.jsonl", "", r"losses\.jsonl is empty yet"),
        ("losses.jsonl", "{}\n", r"losses\.jsonl does not hold a training's losses: KeyError"),
        ("losses.jsonl", "words\n", r"losses\.jsonl does not hold a training's losses: JSON"),
    ],
)
def test_a_directory_that_is_no_run_is_refused(tmp_path, name, text, reason):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=reason):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, r"a\.json does not exist; give a run or a file of results"),
        ("words", r"a\.json is not JSON"),
        ("[]", r"a\.json has no rows with median_ms or giou; allowed: the JSON of vltp benchmark"),
        ('{"rows": [{"area": 3}]}', r"a\.json has no rows with median_ms or giou"),
    ],
)
def test_a_file_that_holds_no_results_is_refused(tmp_path, text, reason):
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=reason):
        read_results(path)


def test_only_png_is_written_and_of_something(tmp_path):
    with pytest.raises(ValueError, match=r"--out is a\.pdf; it must end in \.png"):
        run(Plot(sources=(tmp_path,), out=Path("a.pdf")))
    with pytest.raises(ValueError, match="there is nothing to plot; give runs or JSON files"):
        run(Plot(sources=(), out=tmp_path / "a.png"))


def test_without_matplotlib_the_command_that_brings_it_is_named(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"plots need matplotlib: pip install .*\[plot\]"):
        run(Plot(sources=(trained,), out=tmp_path / "plot.png"))

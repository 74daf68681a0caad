"""The self-test of an installation: what is wrong is found, and said by the exit status."""

from __future__ import annotations

import json

import pytest
import torch

from vltp_ros.cli.main import main
from vltp_ros.evaluation import check, check_timing
from vltp_ros.evaluation.check_context import Context, NotApplicableError
from vltp_ros.evaluation.check_correctness import CHECKS
from vltp_ros.evaluation.random_models import TASKS, random_model, random_reasoner
from vltp_ros.network.encoder import PrunedImageEncoder
from vltp_ros.runtime.masks import measure_masks
from vltp_ros.runtime.session import Session

CPU = torch.device("cpu")


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_each_check_passes_or_says_why_it_does_not_apply(name):
    (outcome,) = check.run_checks(CPU, quick=True, only=[name])
    assert outcome.passed is not False and outcome.name == name and outcome.detail, outcome
    needs_gpu = (
        "GPU = CPU",
        "graphs under stress",
        "memory of closed sessions",
        "frames in a row",
        "captures that break",
    )
    assert (outcome.passed is None) == (name in needs_gpu or "is compiled" in outcome.detail)


def test_a_wrong_result_fails_and_so_does_one_that_is_no_number(monkeypatch):
    merge = PrunedImageEncoder.merge
    for factor in (1.01, float("nan")):
        monkeypatch.setattr(
            PrunedImageEncoder, "merge", lambda self, tokens, f=factor: f * merge(self, tokens)
        )
        (outcome,) = check.run_checks(CPU, True, ["dense encoder = segment_anything's"])
        assert outcome.passed is False and "allowed 0.0001" in outcome.detail


def test_a_check_that_breaks_is_a_failure_and_the_next_one_runs(monkeypatch):
    def breaks(context: Context) -> str:
        raise RuntimeError("no such kernel")

    def passes(context: Context) -> str:
        return "fine"

    def idle(context: Context) -> str:
        raise NotApplicableError("nothing to see")

    table = {"breaks": breaks, "passes": passes, "idle": idle}
    monkeypatch.setattr(check, "CHECKS", table)
    outcomes = list(check.run_checks(CPU, quick=True))
    assert [o.passed for o in outcomes] == [False, True, None]
    assert outcomes[0].detail == "RuntimeError: no such kernel"


@pytest.mark.parametrize(("value", "status"), [(1e-9, 0), (1.0, 1)])
def test_the_exit_status_is_that_of_the_checks(monkeypatch, capsys, value, status):
    def fails(context: Context) -> str:
        if value > 0.5:
            raise AssertionError("off by 1, allowed 0.5")
        return "off by 0, allowed 0.5"

    monkeypatch.setattr(check, "CHECKS", {"arithmetic": fails})
    row = {"name": "frame", "rate": 0.5, "median_ms": 2.0, "baseline_ms": 4.0, "ratio": 2.0}
    monkeypatch.setattr(check, "measurements", lambda device, quick: iter([row]))
    assert main(["check", "--device", "cpu", "--quick", "--json"]) == status
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert answer["passed"] == (status == 0) and answer["rows"] == [row]
    assert answer["checks"][0]["name"] == "arithmetic" and answer["versions"]["torch"]
    assert "2.00 x as fast as 4.00 ms" in printed.err


def test_an_unknown_check_and_an_unknown_device_are_refused(capsys):
    with pytest.raises(ValueError, match="check is 'luck'; allowed: dense encoder"):
        list(check.run_checks(CPU, True, ["luck"]))
    assert main(["check", "--device", "toaster"]) == 2
    assert "device is 'toaster'" in capsys.readouterr().err


@pytest.mark.slow
def test_whole_frames_are_timed_by_stage():
    model = random_model("tabletop", "tabletop", "float32", CPU)
    rows = list(check_timing.frames(Session(model, CPU), "tabletop", quick=True))
    assert [row["rate"] for row in rows] == [0.0, 0.5, 0.8]
    for row in rows:
        parts = {"preprocess", "reasoner", "stem", "mask decoder", "postprocess"}
        assert parts <= row["stages_ms"].keys() and row["median_ms"] > 0 and row["first_ms"] > 0


def test_the_share_of_the_ceiling_is_told_where_the_cost_is_known():
    row = {"name": "encoder", "gmacs": 5.0, "median_ms": 100.0}  # 0.1 TFLOP/s
    assert check_timing.with_share(row, 0.2)["ceiling_share"] == 0.5
    rival = {"name": "official encoder, OpenVINO", "gmacs": None, "median_ms": 100.0}
    assert check_timing.with_share(rival, 0.2) == rival


def test_random_language_models_in_4_bits_have_all_their_layers():
    reasoner = random_reasoner("tabletop", "nf4", CPU)
    layers = reasoner.llava.model.language_model.layers
    assert len(layers) == 8
    assert all("4bit" in type(layer.mlp.up_proj).__name__ for layer in layers)
    image = torch.zeros(1, 3, 48, 64, dtype=torch.uint8)
    with torch.inference_mode():
        assert reasoner(image, [list(TASKS)]).isfinite().all()


def test_masks_are_measured_where_they_are_drawn():
    logits = torch.full((2, 40, 40), -9.0)
    logits[0, 4:8, 10:30] = 9.0  # of 40 x 40 over the square, 160 pixels wide
    levels, measures = measure_masks(logits, 160, (120, 160), 127)
    (score, area, x, y, width, height), empty = measures.tolist()
    assert score > 0.9 and area == (levels[0] > 127).sum()
    assert abs(x - 40) <= 2 and abs(y - 16) <= 2 and abs(width - 80) <= 4 and abs(height - 16) <= 4
    assert empty[0] > 0.9 and empty[1:] == [0, 0, 0, 0, 0]

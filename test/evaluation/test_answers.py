"""How sure and how right answers are, counted by hand; and asked for real."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import PROVENANCE, tiny_model

from vltp_ros.checkpoints.calibration import write_calibration
from vltp_ros.checkpoints.errors import ModelError
from vltp_ros.checkpoints.model_directory import save_model
from vltp_ros.cli.main import main
from vltp_ros.evaluation.answers import (
    Answered,
    _compared,
    fit_odds,
    instance_rows,
    reliability_rows,
)
from vltp_ros.imaging.instances import separate
from vltp_ros.network.config import CalibrationConfig
from vltp_ros.runtime.session import Session
from vltp_ros.types import Segmentation, calibrated

RIGHT, WRONG = (0.9, True), (0.9, False)


def found(score: float, iou: float, objects: int = 1, by_mask=(), by_depth=()) -> Answered:
    return Answered(True, score, iou, objects, by_mask, by_depth)


def nothing(score: float, objects: int = 0) -> Answered:
    return Answered(False, score, float(not objects), objects, (), ())


def test_both_kinds_of_answer_are_compared_with_what_is_right():
    answers = [
        found(0.92, 0.8),
        found(0.96, 0.3),  # too little of it
        found(0.55, 0.5),
        found(1.0, 0.0, objects=0),  # nothing serves
        nothing(0.75),
        nothing(0.71, objects=2),  # something does
    ]
    sure, empty, _ = reliability_rows(answers)
    assert (sure["answer"], sure["count"]) == ("found", 4)
    low, high = sure["bins"]
    assert (low["count"], low["score"], low["right"]) == (1, 0.55, 1.0)
    assert (high["count"], high["right"]) == (3, pytest.approx(1 / 3))
    mean = (0.92 + 0.96 + 1.0) / 3
    assert sure["error"] == pytest.approx((1 * 0.45 + 3 * (mean - 1 / 3)) / 4)
    assert (empty["answer"], empty["count"]) == ("nothing", 2)
    assert empty["error"] == pytest.approx(0.23)


def test_without_answers_of_a_kind_there_is_no_error():
    row = reliability_rows([nothing(0.9)])[0]
    assert (row["count"], row["error"], row["bins"]) == (0, None, [])
    assert instance_rows([nothing(0.9)])[0]["precision"] is None


def test_instances_are_compared_with_objects():
    answers = [
        found(0.9, 0.9, objects=2, by_mask=(WRONG,), by_depth=(RIGHT, RIGHT)),
        found(0.9, 0.9, objects=1, by_mask=(RIGHT, WRONG), by_depth=(RIGHT, WRONG)),
        nothing(0.9),
    ]
    assert reliability_rows(answers)[2]["bins"] == [
        {"count": 3, "score": pytest.approx(0.9), "right": pytest.approx(1 / 3)}
    ]
    by_mask, by_depth = instance_rows(answers)
    assert (by_mask["questions"], by_mask["several"], by_mask["depth"]) == (2, 1, False)
    assert by_mask["precision"] == pytest.approx(1 / 3)
    assert by_mask["recall"] == pytest.approx(1 / 3)
    assert by_depth["precision"] == pytest.approx(3 / 4) and by_depth["recall"] == 1
    assert (by_depth["right"], by_depth["several_right"]) == (0.5, 1.0)


def test_an_instance_is_an_object_that_it_overlaps_by_more_than_half():
    one, other = np.zeros((2, 40, 40), bool)
    one[5:15, 5:15], other[25:35, 25:35] = True, True
    mask = one | other
    mask[25:35, 20:36] = True  # 160 pixels, of which 100 are the other's
    parts = _compared(separate(Segmentation.certain("cut", mask)), [one, other])
    assert parts == ((1.0, True), (1.0, True))
    mask[25:35, 14:36] = True  # 220
    parts = _compared(separate(Segmentation.certain("cut", mask)), [one, other])
    assert sorted(parts) == [(1.0, False), (1.0, True)]


@pytest.mark.parametrize("odds", [(4.0, -7.5), (0.2, 2.0), (1.0, 0.0)])
def test_scores_are_fitted_to_what_is_right(odds):
    random = np.random.default_rng(0)
    scores = random.beta(8, 1, 20000)
    likely = np.array([calibrated(score, odds) for score in scores])
    fitted = fit_odds(scores, random.random(len(scores)) < likely)
    errors = [calibrated(s, fitted) - p for s, p in zip(scores, likely, strict=True)]
    assert np.abs(errors).mean() < 0.01


def test_scores_that_say_little_near_one_do_not_lead_far_off():
    """Of 400 answers with .9999 and more, every thirtieth is wrong; a few others are right."""
    scores = np.concatenate((1 - np.geomspace(1e-7, 1e-4, 400), np.linspace(0.5, 0.9, 7)))
    right = np.arange(len(scores)) % 30 != 0
    odds = fit_odds(scores, right)
    assert all(abs(value) < 10 for value in odds)
    likely = [calibrated(score, odds) for score in scores]
    assert np.mean(likely) == pytest.approx(right.mean(), abs=0.01)


def test_a_few_answers_are_not_certainty():
    slope, offset = fit_odds(np.full(50, 0.9), np.ones(50, bool))
    assert calibrated(0.9, (slope, offset)) == pytest.approx(51 / 52, abs=0.01)


@pytest.mark.parametrize("odds", [(100.0, 100.0), (100.0, -100.0), (0.0, 0.0), (4.0, -7.5)])
def test_calibrated_scores_stay_scores(odds):
    values = [calibrated(p, odds) for p in (0.0, 1e-9, 0.3, 0.5, 0.999999, 1.0)]
    assert all(0 <= value <= 1 for value in values) and values == sorted(values)
    assert calibrated(0.3, (1.0, 0.0)) == 0.3


def test_a_model_is_asked(tmp_path, capsys):
    pytest.importorskip("mujoco", reason="MuJoCo is missing: pip install '.[simulation]'")
    save_model(tiny_model(), tmp_path / "model", PROVENANCE)
    arguments = ["reliability", "--model", str(tmp_path / "model"), "--count", "2", "--json"]
    assert main(arguments) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["answer"] for row in answer["reliability"]] == ["found", "nothing", "instance"]
    assert sum(row["count"] for row in answer["reliability"][:2]) >= 2
    assert [row["depth"] for row in answer["instances"]] == [False, True]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--count", "0"], "--count is 0"),
        (["--fit"], "--fit is for --split val; it is 'test'"),
    ],
)
def test_refused_options(options, reason, capsys):
    assert main(["reliability", *options]) == 2
    assert reason in capsys.readouterr().err


def test_a_calibration_is_kept_by_the_model_and_used(tmp_path):
    """The masks are what they were; whatever is not a calibration is refused."""
    directory = tmp_path / "model"
    save_model(tiny_model(), directory, PROVENANCE)
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    (before,) = Session.load(directory).segment(image, ["cut"])
    calibration = CalibrationConfig(found=(2.0, -1.0), nothing=(0.5, 1.0))
    write_calibration(directory, calibration)
    session = Session.load(directory)
    assert session.model.config.calibration == calibration
    (after,) = session.segment(image, ["cut"])
    np.testing.assert_array_equal(before.mask, after.mask)
    odds = calibration.found if after.found else calibration.nothing
    assert after.score == pytest.approx(calibrated(before.score, odds), abs=1e-6)
    for raw, sure in zip(separate(before), separate(after), strict=True):
        assert sure.score == pytest.approx(calibrated(raw.score, calibration.found), abs=1e-6)
    path = directory / "model.yaml"
    path.write_text(path.read_text().replace("- 2.0", "- -2.0"))
    with pytest.raises(ModelError, match=r"found is \(-2.0, -1.0\); it must be a slope"):
        Session.load(directory)

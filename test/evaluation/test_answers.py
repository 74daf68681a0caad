"""How sure and how right answers are, counted by hand; and asked for real."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import PROVENANCE, tiny_model

from vltp_ros.checkpoints.model_directory import save_model
from vltp_ros.cli.main import main
from vltp_ros.evaluation.answers import Answered, _matched, instance_rows, reliability_rows
from vltp_ros.imaging.instances import separate
from vltp_ros.types import Segmentation


def found(score: float, iou: float, objects: int = 1, **rest) -> Answered:
    return Answered(True, score, iou, objects, **{"instances": (1, 1), "matched": (1, 1)} | rest)


def nothing(score: float, objects: int = 0) -> Answered:
    return Answered(False, score, float(not objects), objects, (0, 0), (0, 0))


def test_both_kinds_of_answer_are_compared_with_what_is_right():
    answers = [
        found(0.92, 0.8),
        found(0.96, 0.3),  # too little of it
        found(0.55, 0.5),
        found(1.0, 0.0, objects=0),  # nothing serves
        nothing(0.75),
        nothing(0.71, objects=2),  # something does
    ]
    sure, empty = reliability_rows(answers)
    assert (sure["answer"], sure["questions"], sure["right"]) == ("found", 4, 0.5)
    low, high = sure["bins"]
    assert (low["count"], low["score"], low["right"]) == (1, 0.55, 1.0)
    assert (high["count"], high["right"]) == (3, pytest.approx(1 / 3))
    mean = (0.92 + 0.96 + 1.0) / 3
    assert sure["error"] == pytest.approx((1 * 0.45 + 3 * (mean - 1 / 3)) / 4)
    assert (empty["answer"], empty["questions"], empty["right"]) == ("nothing", 2, 0.5)
    assert empty["error"] == pytest.approx(0.23)


def test_without_answers_of_a_kind_there_is_no_error():
    row = reliability_rows([nothing(0.9)])[0]
    assert (row["questions"], row["score"], row["error"], row["bins"]) == (0, None, 0, [])


def test_instances_are_compared_with_objects():
    answers = [
        found(0.9, 0.9, objects=2, instances=(1, 2), matched=(0, 2)),
        found(0.9, 0.9, objects=1, instances=(2, 2), matched=(1, 1)),
        nothing(0.9),
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
    assert _matched(separate(Segmentation.certain("cut", mask)), [one, other]) == 2
    mask[25:35, 14:36] = True  # 220
    assert _matched(separate(Segmentation.certain("cut", mask)), [one, other]) == 1


def test_a_model_is_asked(tmp_path, capsys):
    pytest.importorskip("mujoco", reason="MuJoCo is missing: pip install '.[simulation]'")
    save_model(tiny_model(), tmp_path / "model", PROVENANCE)
    arguments = ["reliability", "--model", str(tmp_path / "model"), "--count", "2", "--json"]
    assert main(arguments) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["answer"] for row in answer["reliability"]] == ["found", "nothing"]
    assert sum(row["questions"] for row in answer["reliability"]) >= 2
    assert [row["depth"] for row in answer["instances"]] == [False, True]
    assert main([*arguments[:-3], "--count", "0"]) == 2

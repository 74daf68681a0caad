"""Public data sets: metrics counted by hand, and the command from files to JSON."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from builders import PROVENANCE, tiny_model
from public_data import coco_name, edit_json, write_coco_tasks, write_reasonseg, write_rio

from vltp_ros.checkpoints.model_directory import save_model
from vltp_ros.cli.evaluate import describe
from vltp_ros.cli.main import main
from vltp_ros.data.registry import load_dataset
from vltp_ros.evaluation.expressions import Results, evaluate_dataset
from vltp_ros.evaluation.measurements import Answer
from vltp_ros.evaluation.metrics import MaskMetrics, overlap
from vltp_ros.evaluation.tabletop import Setting
from vltp_ros.network.reasoner import Reasoner
from vltp_ros.network.sam import PrunedSam
from vltp_ros.runtime.session import Session

pytest.importorskip("pycocotools", reason="pycocotools is missing: pip install '.[data]'")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model") / "tiny"
    save_model(tiny_model(), directory, PROVENANCE)
    return str(directory)


def columns(start: int, stop: int) -> np.ndarray:
    """bool [2, 8]: some columns of two pixels each."""
    mask = np.zeros((2, 8), bool)
    mask[:, start:stop] = True
    return mask


def counted(*answers: tuple[str, np.ndarray, np.ndarray]) -> dict:
    """Accuracy of answers of a task, a predicted and a right mask each."""
    results = Results()
    for task, predicted, truth in answers:
        results.add(task, Answer(*overlap(predicted, truth), tokens=(), ms=3.0))
    return results.accuracy()


def test_accuracy_of_all_and_of_tasks():
    nothing = columns(0, 0)
    accuracy = counted(
        ("1", columns(0, 2), columns(0, 4)),  # 4 / 8
        ("1", columns(2, 4), nothing),  # 0 / 4
        ("2", nothing, nothing),  # empty union counts 1
    )
    assert accuracy["giou"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert accuracy["ciou"] == pytest.approx(4 / 12)
    assert [(row["task"], row["count"]) for row in accuracy["tasks"]] == [("1", 2), ("2", 1)]
    assert [row["giou"] for row in accuracy["tasks"]] == pytest.approx([0.25, 1])
    assert [row["ciou"] for row in accuracy["tasks"]] == pytest.approx([4 / 12, 1])
    assert accuracy["task_giou"] == pytest.approx((0.25 + 1) / 2)
    assert accuracy["task_ciou"] == pytest.approx((4 / 12 + 1) / 2)


def test_an_empty_answer_where_something_serves_is_all_wrong():
    accuracy = counted(("", columns(0, 0), columns(0, 4)), ("", columns(0, 4), columns(0, 4)))
    assert (accuracy["giou"], accuracy["ciou"]) == (0.5, 0.5)
    assert (accuracy["task_giou"], accuracy["task_ciou"], accuracy["tasks"]) == (None, None, [])


def test_ignored_pixels_count_neither_way():
    metrics = MaskMetrics()
    metrics.add(columns(0, 6), columns(2, 8), columns(0, 3))  # 3 columns of 5 that count
    assert metrics.giou == pytest.approx(3 / 5)
    metrics.add(columns(0, 3), columns(0, 2), columns(0, 4))  # nothing is left
    assert metrics.giou == pytest.approx((3 / 5 + 1) / 2) and metrics.ciou == pytest.approx(3 / 5)


def test_a_model_is_measured_on_coco_tasks(model, tmp_path, capsys):
    write_coco_tasks(tmp_path)
    arguments = ["evaluate", "--dataset", "coco-tasks-test", "--data", str(tmp_path)]
    arguments += ["--model", model, "--device", "cpu", "--count", "14"]
    assert main([*arguments, "--selector", "keep_all", "random", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    dense, random = answer["rows"]
    keys = ("split", "selector", "count")
    assert [dense[key] for key in keys] == ["coco-tasks-test", "keep_all", 14]
    assert [task["count"] for task in dense["tasks"]] == [1] * 14
    assert random["gmacs"] < dense["gmacs"] and dense["median_ms"] > 0
    mean = sum(task["ciou"] for task in dense["tasks"]) / 14
    assert dense["task_ciou"] == pytest.approx(mean)
    assert answer["skipped"] == {"count": 0, "problems": []}
    assert answer["configuration"]["selector"] == ["keep_all", "random"]
    assert len(answer["data"]["annotations_sha256"]) == 64
    files = (tmp_path / "coco" / "val2014").iterdir()
    digests = sorted({hashlib.sha256(path.read_bytes()).hexdigest() for path in files})
    images = hashlib.sha256("".join(digests).encode()).hexdigest()
    assert answer["data"]["images_sha256"] == images and answer["processes"] == 1
    assert answer["weights"].startswith("tiny (") and answer["hardware"]
    assert answer["commit"] is None or len(answer["commit"].removesuffix("-dirty")) == 40
    assert describe(answer).endswith("means over 14 tasks")
    expected = MaskMetrics()
    session = Session.load(model, rates=(0.0,))
    for entry in load_dataset("coco-tasks-test", tmp_path).entries[::2]:
        sample = entry.sample()
        expected.add(session.segment(sample.image, [sample.text])[0].mask, sample.mask)
    assert dense["ciou"] == pytest.approx(expected.ciou, abs=1e-3)


def test_the_ablations_of_the_papers_are_options(model, tmp_path, monkeypatch, capsys):
    write_rio(tmp_path)
    arguments = ["evaluate", "--dataset", "rio-common", "--data", str(tmp_path), "--model", model]
    arguments += ["--count", "1", "--selector", "random", "--csp", "65", "--json"]
    used = []
    encode, reason = PrunedSam.encode, Reasoner.reason

    def note_encode(self, tokens, stages, budget, score, **given):
        used.append((stages, given["returns"], given["merges"]))
        return encode(self, tokens, stages, budget, score, **given)

    def note_reason(self, *given, csp, **others):
        used.append(csp.selector)
        return reason(self, *given, csp=csp, **others)

    monkeypatch.setattr(PrunedSam, "encode", note_encode)
    monkeypatch.setattr(Reasoner, "reason", note_reason)
    options = ([], ["--prune-after", "3", "--csp-selector", "cls"], ["--no-return", "--no-merge"])
    for extra in options:
        assert main([*arguments, *extra]) == 0
        stages = json.loads(capsys.readouterr().out)["configuration"]["prune_after"]
        assert stages == list(used[-1][0])
    assert used == [
        "uniform", ((2, 3), True, True),
        "cls", ((3,), True, True),
        "uniform", ((2, 3), False, False),
    ]  # fmt: skip


def test_a_model_of_simulated_scenes_has_a_caveat(tmp_path, capsys, caplog):
    write_rio(tmp_path)
    about = {**PROVENANCE, "trained_on": "simulated tabletop scenes"}
    save_model(tiny_model(), tmp_path / "simulated", about)
    arguments = ["evaluate", "--dataset", "rio-common", "--data", str(tmp_path), "--count", "1"]
    arguments += ["--model", str(tmp_path / "simulated"), "--selector", "keep_all", "--json"]
    assert main(arguments) == 0
    expected = "simulated was trained on simulated tabletop scenes only; answers on photographs"
    assert expected in json.loads(capsys.readouterr().out)["caveat"] and expected in caplog.text


def test_bad_entries_end_it_unless_they_are_left_out(model, tmp_path, capsys):
    write_rio(tmp_path)
    edit_json(tmp_path / "rio" / "test_common.json", lambda r: r[0].update(expressions=""))
    arguments = ["evaluate", "--dataset", "rio-common", "--data", str(tmp_path), "--model", model]
    arguments += ["--selector", "keep_all", "--json"]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "test_common.json, entry 0: the expression is ''" in captured.err
    assert main([*arguments, "--skip-bad"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["rows"][0]["count"] == answer["skipped"]["count"] == 1
    assert "entry 0: the expression is ''" in answer["skipped"]["problems"][0]


def test_images_that_cannot_be_read_are_left_out_on_request(tmp_path):
    write_rio(tmp_path)
    path = tmp_path / "coco" / "val2014" / coco_name("val2014", 102)
    path.write_bytes(path.read_bytes()[:600])
    session = Session(tiny_model(), torch.device("cpu"))
    dataset, settings = load_dataset("rio-common", tmp_path), [Setting("keep_all")]
    with pytest.raises(ValueError, match=r"000000000102.jpg: the image cannot be decoded"):
        evaluate_dataset(session, dataset, settings, progress=False)
    measured = evaluate_dataset(session, dataset, settings, skip_bad=True, progress=False)
    assert measured["rows"][0]["count"] == measured["skipped"]["count"] == 1
    (tmp_path / "coco" / "val2014" / coco_name("val2014", 101)).write_bytes(b"")
    with pytest.raises(ValueError, match="rio-common: none of 2 images can be read"):
        evaluate_dataset(session, dataset, settings, skip_bad=True, progress=False)


def test_a_count_is_spread_over_the_tasks(tmp_path):
    write_coco_tasks(tmp_path)
    session = Session(tiny_model(), torch.device("cpu"))
    dataset, settings = load_dataset("coco-tasks-test", tmp_path), [Setting("keep_all")]
    (row,) = evaluate_dataset(session, dataset, settings, count=7, progress=False)["rows"]
    assert row["count"] == len(row["tasks"]) == 7
    with pytest.raises(ValueError, match="count is 29; coco-tasks-test has 28 expressions"):
        evaluate_dataset(session, dataset, settings, count=29, progress=False)


def test_ignored_regions_of_reasonseg_do_not_count(tmp_path):
    write_reasonseg(tmp_path)
    session = Session(tiny_model(), torch.device("cpu"))
    dataset = load_dataset("reasonseg-val", tmp_path)
    (row,) = evaluate_dataset(session, dataset, [Setting("keep_all")], progress=False)["rows"]
    sample = dataset.entries[0].sample()
    predicted = session.segment(sample.image, [sample.text])[0].mask
    metrics = MaskMetrics()
    metrics.add(predicted, sample.mask, sample.ignored)
    assert row["giou"] == pytest.approx(metrics.giou, abs=1e-3) and row["task_giou"] is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--dataset", "rio-common"], "--dataset is rio-common, which needs --data"),
        (["--dataset", "rio", "--data", "x"], "dataset is 'rio'; allowed: rio-train"),
        (["--skip-bad"], "--skip-bad is given; it has no effect without --dataset"),
        (
            ["--dataset", "rio-common", "--data", "x", "--control", "grey"],
            "--control is grey; it has no effect with --dataset",
        ),
        (["--dataset", "rio-common", "--data", "gone"], "*common*.json: no file for common"),
        (["--csp-selector", "cls"], "--csp-selector is cls; it has no effect without --csp"),
        (
            ["--no-merge", "--selector", "keep_all"],
            "--no-merge is given; it has no effect with --selector keep_all",
        ),
        (
            ["--no-return", "--prune-after", "4"],
            "--no-return is given; tokens are selected after 4 alone",
        ),
        (["--prune-after", "3"], "prune_after is (3,); allowed: ascending numbers of global"),
    ],
)
def test_refused_options(options, reason, capsys):
    assert main(["evaluate", *options]) == 2
    assert reason in capsys.readouterr().err

"""Tables on public data: what a row needs is trained and measured as on scenes."""

from __future__ import annotations

import json

import pytest
import torch
from builders import tiny_model
from public_data import coco_name, write_coco_tasks, write_rio

from vltp_ros.cli.main import main
from vltp_ros.data.expressions import ExpressionImages
from vltp_ros.data.registry import load_dataset
from vltp_ros.evaluation.expressions import evaluate_dataset
from vltp_ros.evaluation.row_runner import RowRunner
from vltp_ros.evaluation.rows import Row, Training
from vltp_ros.evaluation.tabletop import Setting
from vltp_ros.network.csp import CSP_PRESETS
from vltp_ros.runtime.session import Session
from vltp_ros.training.config import TrainConfig

pytest.importorskip("pycocotools", reason="pycocotools is missing: pip install '.[data]'")

CONFIG = TrainConfig(
    steps=2, batch=2, tasks_per_image=2, warmup=1, bfloat16=False, optimiser="adamw"
)
LATE_HALF, RATES = (2, 3), (0.5, 0.25)


def runner(root, directory, on="rio-common", **options):
    training = ExpressionImages(["rio-train"], root, "train")
    held_out = ExpressionImages([on], root, "test", **options)
    return RowRunner(tiny_model(), training, held_out, CONFIG, directory)


def test_rows_are_trained_and_measured_once(root, tmp_path, monkeypatch):
    rows = [
        Row("3", "dense"),
        Row("3", "both", Training(rates=RATES), LATE_HALF, RATES),
        Row("7", "CTS", Training("CTS")),
        Row("7", "SViT", Training("SViT")),
        Row("7", "random", Training("random")),
        Row("csp", "preset 65", csp=CSP_PRESETS["65"]),
    ]
    runs = runner(root, tmp_path)
    answers = runs.run(rows, progress=False)
    assert [answer["label"] for answer in answers] == [
        "dense", "both", "SViT", "random", "preset 65"
    ]  # fmt: skip
    assert runs.left_out(rows) == ["CTS"]
    assert all(answer["split"] == "rio-common" for answer in answers)
    assert all(answer["count"] == len(answer["scenes"]) == 2 for answer in answers)
    assert all(answer["families"].keys() == {"7", "8"} for answer in answers)
    monkeypatch.setattr(runs, "_train", None)
    assert runs.run(rows, progress=False) == answers


def test_the_dense_row_is_what_evaluate_measures(root, tmp_path):
    (row,) = runner(root, tmp_path, "coco-tasks-test").run([Row("3", "dense")], progress=False)
    session = Session(tiny_model(), torch.device("cpu"))
    (expected,) = evaluate_dataset(
        session, load_dataset("coco-tasks-test", root), [Setting("keep_all", 0.0)], progress=False
    )["rows"]
    assert row["count"] == expected["count"] == 28
    assert row["giou"] == pytest.approx(expected["giou"], abs=1e-3)
    assert row["ciou"] == pytest.approx(expected["ciou"], abs=1e-3)


def test_a_bad_image_ends_it_by_name_or_is_left_out(tmp_path):
    root = tmp_path / "root"
    write_coco_tasks(root)
    write_rio(root)
    bad = root / "coco" / "val2014" / coco_name("val2014", 101)
    bad.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"000101\.jpg: the image cannot be decoded"):
        runner(root, tmp_path / "a").run([Row("3", "dense")], progress=False)
    few = runner(root, tmp_path / "b", skip_bad=True)
    with pytest.raises(ValueError, match="rio-common: 1 images can be read; 2 are needed"):
        few.run([Row("3", "dense")], progress=False)


@pytest.mark.slow
def test_the_command_fills_tables(root, base, adapted, tmp_path, capsys):
    names = ["--train-on", "rio-train", "--on", "rio-common", "coco-tasks-test"]
    files = ["--model", str(base), "--data", str(root), "--run", str(tmp_path / "run")]
    fewer = ["--steps", "1", "--batch", "2", "--warmup", "1", "--seeds", "1", "--no-bfloat16"]
    which = ["--also", str(adapted), "--table", "2", "3", "7"]
    assert main(["tables", *files, *names, *fewer, *which, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["left_out"] == ["CTS", "DToP"]
    assert len([row for row in answer["rows"] if row["table"] == "2"]) == 4  # of two models
    assert {row["split"] for row in answer["rows"]} == {"rio-common", "coco-tasks-test"}
    assert "40 images of" not in answer["training"]["on"]  # those for validation are not among them
    assert answer["training"]["on"].endswith(")") and "images of rio-train" in str(answer)
    (tmp_path / "tables.json").write_text(json.dumps(answer))
    assert main(["tables", "--results", str(tmp_path / "tables.json")]) == 0
    printed = capsys.readouterr().out
    assert "gIoU on rio-common, coco-tasks-test" in printed
    assert "left out: CTS, DToP, which learn from kinds" in printed and "SViT" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--on", "rio-common"], "--train-on, --run: missing"),
        (["--train-on", "rio-common", "--on", "rio-common"], "--train-on is rio-common, which is"),
        (["--train-on", "rio-train", "--on", "rio-train"], "--on is rio-train, which is for train"),
        (["--train-on", "rio-train", "--on", "rio"], "dataset is 'rio'; allowed"),
        (["--costs"], "--costs is given; it does not go with --data"),
    ],
)
def test_data_sets_that_do_not_fit_are_refused(
    root, base, tmp_path, capsys, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    run = ["--run", "run"] if "--train-on" in arguments else []
    assert main(["tables", "--data", str(root), "--model", str(base), *run, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_skipping_is_for_public_data(capsys):
    assert main(["tables", "--train-on", "a", "--on", "b", "--run", "c", "--skip-bad"]) == 2
    assert "--skip-bad is given; it needs --data" in capsys.readouterr().err

"""Training on public data sets by the commands: from annotations to a model directory."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from vltp_ros.checkpoints.model_directory import load_model, read_provenance
from vltp_ros.cli.finetune import Finetune
from vltp_ros.cli.finetune import run as finetune
from vltp_ros.cli.train import Train
from vltp_ros.cli.train import run as train
from vltp_ros.data.expressions import ExpressionImages
from vltp_ros.evaluation.validation import expressions_giou
from vltp_ros.runtime.caveat import caveat_of
from vltp_ros.training.config import FINETUNING, TrainConfig

pytest.importorskip("pycocotools", reason="pycocotools is missing: pip install '.[data]'")

SETTINGS = TrainConfig(steps=2, batch=2, tasks_per_image=2, warmup=1, rates=(0.5,), bfloat16=False)


def lines(run):
    return [json.loads(line) for line in (run / "losses.jsonl").read_text().splitlines()]


def test_the_prune_stage_trains_on_data_sets_and_validates_on_one(root, base, tmp_path):
    names, run, out = ("rio-train", "coco-tasks-train"), tmp_path / "run", tmp_path / "out"
    arguments = ("prune", root, run, out, base, SETTINGS)
    train(Train(*arguments, dataset=names, val_dataset=("rio-val",), val_every=9))
    first, last = lines(run)
    assert "val_loss" not in first and last.keys() >= {"val_loss", "val_prune", "val_giou"}
    val = ExpressionImages(["rio-val"], root, "val")
    trained = load_model(out)
    assert last["val_giou"] == pytest.approx(
        expressions_giou(trained, val, len(val), 0.5),
        abs=0.05,  # files have half precision
    )
    about = read_provenance(out)
    assert about["trained_on"] == "rio-train, coco-tasks-train" and not caveat_of(out)
    assert "2 steps of 2 images of rio-train, coco-tasks-train out of" in about["sources"][-1]
    again = dataclasses.replace(Train(*arguments, dataset=("rio-train",)), out=tmp_path / "other")
    with pytest.raises(ValueError, match=r"--data is .* images of rio-train \(.*was begun with"):
        train(again)


def test_adapters_learn_from_a_data_set(root, base, tmp_path):
    settings = dataclasses.replace(FINETUNING, steps=1, batch=2, warmup=1, bfloat16=False)
    out = tmp_path / "out"
    finetune(
        Finetune(base, root, tmp_path / "run", out, config=settings, dataset=("coco-tasks-train",))
    )
    assert read_provenance(out)["trained_on"] == "coco-tasks-train"
    assert lines(tmp_path / "run")[0]["mask"] > 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dataset": ("rio-common",)}, "--dataset is rio-common, which is for test; allowed"),
        ({"skip_bad": True}, "--skip-bad is given; it needs --dataset"),
        ({"val_dataset": ("rio-val",)}, "--val-dataset is given; it needs --dataset"),
        ({"dataset": ("rio-train",), "val": Path("x")}, "--val is x; with --dataset give"),
        ({"dataset": ("rio-train",), "val_count": 0}, "--val-count is 0"),
        ({"dataset": ("rio-train",), "val_dataset": ("rio-train",)}, "--val-dataset is rio-train,"),
        (
            {"dataset": ("rio-train",), "stage": "dense"},
            "--stage is 'dense' and --dataset is given",
        ),
        (
            {"dataset": ("rio-train",), "config": dataclasses.replace(SETTINGS, mosaic=True)},
            "--mosaic is True; it is for scenes only",
        ),
        ({"dataset": ("rio-train",), "init": None}, "--init is missing"),
        (
            {
                "dataset": ("rio-train",),
                "stage": "attention",
                "config": dataclasses.replace(SETTINGS, no_merge=True),
            },
            "--no-merge is True; it has no effect in the attention stage on public data, but in",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(root, base, tmp_path, options, reason):
    given = {"stage": "prune", "init": base, "config": SETTINGS, **options}
    with pytest.raises(ValueError, match=reason):
        train(Train(data=root, run=tmp_path / "run", out=tmp_path / "out", **given))
    assert not (tmp_path / "run").exists()

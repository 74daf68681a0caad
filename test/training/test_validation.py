"""What is measured on held-out scenes while a stage trains, which changes nothing in it."""

from __future__ import annotations

import dataclasses
import json
import sys

import pytest
import torch
from builders import crowded_scenes, tiny_model

from vltp_ros.checkpoints.model_directory import load_model
from vltp_ros.cli.finetune import Finetune
from vltp_ros.cli.finetune import run as finetune
from vltp_ros.cli.train import Train
from vltp_ros.cli.train import run as train
from vltp_ros.data.scenes import TabletopDataset
from vltp_ros.evaluation.validation import scenes_giou
from vltp_ros.simulation import generate_dataset
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.validation import evaluating

SETTINGS = TrainConfig(steps=3, batch=2, tasks_per_image=2, warmup=1, rates=(0.5,), bfloat16=False)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    directory = tmp_path_factory.mktemp("held out")
    generate_dataset(directory, count=2, seed=0, split="val", workers=1, progress=False)
    return directory


def lines(run):
    return [json.loads(line) for line in (run / "losses.jsonl").read_text().splitlines()]


def test_losses_and_giou_are_stored_and_the_weights_are_the_same(
    data, base, held_out, tmp_path, caplog, capsys, monkeypatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # bars are drawn on a terminal only
    weights = []
    for name, options in (("with", {"val": held_out, "val_every": 2}), ("without", {})):
        run, out = tmp_path / name, tmp_path / f"{name} out"
        with caplog.at_level("INFO"):
            train(Train("prune", data.directory, run, out, base, SETTINGS, **options))
        weights.append(load_model(out).prune_decoder.state_dict())
    assert all(torch.allclose(value, weights[1][name]) for name, value in weights[0].items())
    measured = [{k for k in line if k.startswith("val_")} for line in lines(tmp_path / "with")]
    assert measured[0] == set()
    assert measured[1] == measured[2] == {"val_loss", "val_mask", "val_prune", "val_giou"}
    last = lines(tmp_path / "with")[-1]
    expected = scenes_giou(load_model(tmp_path / "with out"), TabletopDataset(held_out), 2, 0.5)
    assert last["val_giou"] == pytest.approx(expected, abs=0.02)  # files have half precision
    assert [r.message.split(":")[0] for r in caplog.records] == ["step 2", "step 3"]
    assert f"val_giou {last['val_giou']:.3f}" in caplog.text
    assert "3/3" in (bar := capsys.readouterr().err) and ", loss " in bar


def test_a_stage_without_masks_has_its_losses(crowded, base, tmp_path):
    held_out = crowded_scenes(tmp_path / "val", 2, split="val").directory
    settings = dataclasses.replace(SETTINGS, cut_share=1.0)
    arguments = ("tower", crowded.directory, tmp_path / "run", tmp_path / "out", base, settings)
    train(Train(*arguments, val=held_out, val_every=9))
    first, _, last = lines(tmp_path / "run")
    assert "val_loss" not in first
    assert last.keys() >= {"val_loss", "val_name", "val_where"} and "val_giou" not in last


def test_finetuning_validates_as_well(data, base, held_out, tmp_path):
    settings = dataclasses.replace(SETTINGS, steps=1)
    finetune(
        Finetune(
            base, data.directory, tmp_path / "run", tmp_path / "out", config=settings, val=held_out
        )
    )
    assert lines(tmp_path / "run")[0].keys() >= {"val_loss", "val_giou"}


def test_every_module_gets_its_mode_back():
    model = tiny_model().train()
    model.reasoner.eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert model.training and model.mask_decoder.training and not model.reasoner.training


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"val_every": 0}, "--val-every is 0; it must be at least 1"),
        ({"val_count": 0}, "--val-count is 0; it must be at least 1"),
        ({"val": "data"}, "has the scenes of --data; give others"),
        ({"val": "crowded"}, "has edition 2; it must have that of --data, 1"),
        ({"val": "nowhere"}, "dataset.json does not exist"),
    ],
)
def test_scenes_that_are_no_help_are_refused(data, crowded, tmp_path, options, reason):
    places = {"data": data.directory, "crowded": crowded.directory, "nowhere": tmp_path}
    options = {name: places.get(value, value) for name, value in options.items()}
    with pytest.raises(ValueError, match=reason):
        train(Train("dense", data.directory, tmp_path / "run", tmp_path / "out", **options))
    assert not (tmp_path / "run").exists()

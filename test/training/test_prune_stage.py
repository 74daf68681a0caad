"""Options of the prune stage: where it selects, and what becomes of what it leaves out."""

from __future__ import annotations

import dataclasses
import json

import pytest
from builders import tiny_model

from vltp_ros.checkpoints.model_directory import load_model
from vltp_ros.cli.train import Train, run
from vltp_ros.network.sam import PrunedSam
from vltp_ros.simulation import TASKS, generate_dataset
from vltp_ros.training.batches import BatchSource
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.stages import PrunedStage

SETTINGS = TrainConfig(
    steps=1, batch=2, tasks_per_image=1, warmup=1, rates=(0.7, 0.3), bfloat16=False
)


@pytest.fixture
def training(data, base, tmp_path):
    return Train("prune", data.directory, tmp_path / "run", tmp_path / "out", base, SETTINGS)


def test_it_selects_after_the_layers_asked_for(training):
    run(dataclasses.replace(training, prune_after=(2,)))
    pruning = load_model(training.out).config.pruning
    assert pruning.prune_after == (2,) and pruning.rates == (0.7,)
    again = dataclasses.replace(training, out=training.out.with_name("other"))
    with pytest.raises(ValueError, match=r"--prune-after is 2 3; .* was begun with 2; give the"):
        run(again)
    run(dataclasses.replace(again, prune_after=(2,)))


def test_the_model_s_own_layers_and_rates_stay(training):
    run(training)
    pruning = load_model(training.out).config.pruning
    assert pruning.prune_after == (2, 3) and pruning.rates == (0.5, 0.5)


@pytest.mark.parametrize(
    ("stage", "layers", "reason"),
    [
        ("prune", (4,), r"--prune-after is \(4,\); allowed: ascending .* of 4: \[2, 3\]"),
        ("prune", (3, 2), r"--prune-after is \(3, 2\); allowed: ascending"),
        ("attention", (2, 3), "--prune-after is 2 3; it is for --stage prune"),
    ],
)
def test_layers_that_cannot_be_are_refused(training, stage, layers, reason):
    with pytest.raises(ValueError, match=reason):
        run(dataclasses.replace(training, stage=stage, prune_after=layers))
    assert not training.run.exists()


@pytest.fixture
def reactivation(monkeypatch):
    """What the encoder is told of tokens that are left out, at each call."""
    given, encode = [], PrunedSam.encode

    def noted(*arguments, **options):
        given.append((options["returns"], options["merges"]))
        return encode(*arguments, **options)

    monkeypatch.setattr(PrunedSam, "encode", noted)
    return given


def test_what_is_left_out_neither_returns_nor_is_merged_where_so_asked(data, reactivation):
    losses = []
    for changes in ({}, {"no_return": True}, {"no_merge": True}):
        settings = dataclasses.replace(SETTINGS, rates=(0.5,), **changes)
        stage = PrunedStage(tiny_model(), settings)
        losses.append(stage(BatchSource(data, TASKS, settings).batch(0), 0)["loss"].item())
    assert reactivation == [(True, True), (False, True), (True, False)]
    assert len(set(losses)) == 3  # each changes what is drawn


def test_a_validation_measures_what_is_trained(training, reactivation, tmp_path):
    held_out = tmp_path / "scenes"
    generate_dataset(held_out, count=1, seed=9, split="val", workers=1, progress=False)
    settings = dataclasses.replace(SETTINGS, no_merge=True)
    run(dataclasses.replace(training, config=settings, val=held_out))
    assert reactivation == [(True, False)] * 3  # in the step, for its losses and for gIoU
    assert "val_giou" in json.loads((training.run / "losses.jsonl").read_text())


@pytest.mark.parametrize("option", ["no_return", "no_merge"])
def test_reactivation_is_of_the_prune_stage(training, option):
    settings = dataclasses.replace(SETTINGS, rates=(0.5,), **{option: True})
    name = option.replace("_", "-")
    with pytest.raises(ValueError, match=f"--{name} is True; it has no effect in the attention"):
        run(dataclasses.replace(training, stage="attention", config=settings))


def test_nothing_could_return_at_one_stage(training):
    settings = dataclasses.replace(SETTINGS, no_return=True)
    with pytest.raises(ValueError, match="--no-return is given; tokens are selected after 2 alone"):
        run(dataclasses.replace(training, prune_after=(2,), config=settings))

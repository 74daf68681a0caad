"""Options of the prune stage: where it selects."""

from __future__ import annotations

import dataclasses

import pytest

from vltp_ros.checkpoints.model_directory import load_model
from vltp_ros.cli.train import Train, run
from vltp_ros.training.config import TrainConfig

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

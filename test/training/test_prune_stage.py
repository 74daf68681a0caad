"""Options of the prune stage: where it selects, and what becomes of what it leaves out."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from builders import tiny_model

from vltp_ros.checkpoints.model_directory import load_model
from vltp_ros.cli.train import Train, run
from vltp_ros.network.csp import CspConfig
from vltp_ros.network.sam import PrunedSam
from vltp_ros.simulation import TASKS, generate_dataset
from vltp_ros.training.batches import BatchSource
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.feature_cache import FeatureCache
from vltp_ros.training.stages import PrunedStage, frozen_inputs

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


@pytest.mark.parametrize("selector", ["uniform", "random", "cls"])
def test_llava_sees_fewer_tokens_where_so_asked(data, selector):
    model, source = tiny_model(), BatchSource(data, TASKS, SETTINGS)
    settings = dataclasses.replace(SETTINGS, csp="65", csp_selector=selector)
    batch, (config, stages) = source.batch(0), (settings.reasoning, (2, 3))
    torch.manual_seed(0)
    tokens, segs = frozen_inputs(model, batch, stages, config)
    torch.manual_seed(0)
    features = model.reasoner.encode_image(batch.images, cls=selector == "cls")
    expected = model.reasoner.reason(features, batch.tasks, csp=CspConfig(selector=selector)).seg
    torch.testing.assert_close(segs, expected)
    plain = frozen_inputs(model, batch, stages)
    torch.testing.assert_close(tokens, plain[0])
    assert not torch.allclose(segs, plain[1], atol=1e-4)


def test_stored_segs_are_those_of_fewer_tokens(crowded, base, training, tmp_path):
    settings = dataclasses.replace(SETTINGS, rates=(0.5,), csp="70", csp_selector="cls")
    given = {"data": crowded.directory, "cache": tmp_path / "cache"}
    run(dataclasses.replace(training, config=settings, **given))
    model = load_model(base)
    stored = FeatureCache(tmp_path / "cache", model, crowded, 2, settings.reasoning)[0]
    plain = FeatureCache(tmp_path / "plain", model, crowded, 2)[0]
    torch.testing.assert_close(stored.tokens, plain.tokens)
    assert not torch.allclose(stored.segs, plain.segs, atol=1e-4)
    with pytest.raises(ValueError, match=r"lvlm_csp is \{'scatter_from': .*; it is None now"):
        FeatureCache(tmp_path / "cache", model, crowded, 2)


def test_what_is_drawn_anew_is_not_stored(crowded, training, tmp_path):
    settings = dataclasses.replace(SETTINGS, csp="65", csp_selector="random")
    given = {"data": crowded.directory, "cache": tmp_path / "cache"}
    with pytest.raises(ValueError, match="--csp-selector is random, drawn anew in each step"):
        run(dataclasses.replace(training, config=settings, **given))


def test_a_selector_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"csp_selector is cls; it has no effect without Train"):
        dataclasses.replace(SETTINGS, csp_selector="cls")

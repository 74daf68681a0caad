"""Rows of the tables on crowded scenes: trained once, measured once, compared with errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from builders import crowded_scenes, tiny_model

from vltp_ros.cli.rows import Rows, describe, run
from vltp_ros.evaluation.comparisons import HYPOTHESES, compare
from vltp_ros.evaluation.flops import model_gmacs
from vltp_ros.evaluation.questions import Probe, evaluate_questions
from vltp_ros.evaluation.row_runner import RowRunner
from vltp_ros.evaluation.rows import (
    RIVAL_RATES,
    TABLE_NAMES,
    Row,
    Training,
    clustering_alone,
    mean_share,
    paper_rows,
    pruning_alone,
)
from vltp_ros.evaluation.tabletop import Setting
from vltp_ros.network.config import model_config
from vltp_ros.network.csp import CSP_PRESETS
from vltp_ros.runtime.session import Session
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.feature_cache import CachedSource, FeatureCache

CONFIG = TrainConfig(
    steps=2, batch=2, tasks_per_image=2, warmup=1, bfloat16=False, optimiser="adamw"
)
STAGES = 2, 3  # of the tiny model


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    return crowded_scenes(tmp_path_factory.mktemp("train"), 8)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    return crowded_scenes(tmp_path_factory.mktemp("val"), 2, "val")


@pytest.fixture(scope="module")
def model():
    return tiny_model().eval()


def test_a_batch_has_what_the_model_computes_of_its_scenes(model, train, tmp_path):
    cache = FeatureCache(tmp_path, model, train, 2)
    source = CachedSource(cache, CONFIG)
    source.fill()
    batch = source.batch(0)
    with torch.inference_mode():
        tokens = model.stem(model.preprocess(batch.images), (2,))
        segs = model.reasoner(batch.images, batch.tasks)
    assert torch.allclose(batch.tokens, tokens, atol=0.01)
    assert torch.allclose(batch.segs, segs, atol=1e-4)
    assert batch.masks.shape == (4, *batch.images.shape[2:]) and batch.kinds.any()


def test_a_cache_is_computed_once_and_keeps_to_its_model(model, train, tmp_path, monkeypatch):
    before = FeatureCache(tmp_path, model, train, 2)[1]
    again = FeatureCache(tmp_path, model, train, 2)
    monkeypatch.setattr(again, "_write", None)
    assert torch.equal(again[1].tokens, before.tokens)
    with pytest.raises(ValueError, match=r"cache\.json: after is 2; it is 3 now"):
        FeatureCache(tmp_path, model, train, 3)
    with pytest.raises(ValueError, match="model is"):
        FeatureCache(tmp_path, tiny_model(seed=1).eval(), train, 2)


def test_rows_are_trained_and_measured_once(model, train, held_out, tmp_path, monkeypatch):
    own = Training(stages=STAGES, rate=0.5)
    rows = [
        Row("3", "dense"),
        Row("3", "both", own, STAGES, 0.5),
        Row("7", "another", own, STAGES, 0.5, another=True),
        Row("6", "stay", own, STAGES, 0.5, returns=False),
        Row("7", "SViT", Training("SViT", STAGES)),
        Row("csp", "preset 65", csp=CSP_PRESETS["65"]),
    ]
    runner = RowRunner(model, train, held_out, CONFIG, tmp_path)
    answers = runner.run(rows, progress=False)
    assert [answer["label"] for answer in answers] == [row.label for row in rows]
    assert all(len(answer["scenes"]) == 2 and answer["gmacs"] > 0 for answer in answers)
    assert answers[1]["gmacs"] != answers[0]["gmacs"] and answers[1]["seed"] == 0
    trained = sorted(path.name for path in (tmp_path / "trainings").iterdir())
    assert trained == ["SViT 2-3 seed 0", "VLTP 2-3 0.5 seed 0"]
    monkeypatch.setattr(runner, "_train", None)
    assert runner.run(rows, progress=False) == answers


def test_results_of_other_settings_are_not_taken(model, train, held_out, tmp_path):
    RowRunner(model, train, held_out, CONFIG, tmp_path)
    RowRunner(model, train, held_out, CONFIG, tmp_path)
    with pytest.raises(ValueError, match=r"settings\.json: count is 2; it is 1 now"):
        RowRunner(model, train, held_out, CONFIG, tmp_path, count=1)
    more = dataclasses.replace(CONFIG, steps=3)
    with pytest.raises(ValueError, match=r"settings\.json: steps is 2; it is 3 now"):
        RowRunner(model, train, held_out, more, tmp_path)


def test_vltp_costs_no_more_than_random_selection_beside_it():
    config = model_config("tabletop")
    ours, rival = (
        model_gmacs(config, (4, 6), (rate, rate)) for rate in (RIVAL_RATES["random"], 0.5)
    )
    cost = rival["gmacs"] - 2 * rival["prune_decoder_gmacs"]  # which random selection has not
    assert 0.98 * cost <= ours["gmacs"] <= cost


def test_the_dense_row_is_what_evaluate_measures(model, train, held_out, tmp_path):
    (row,) = RowRunner(model, train, held_out, CONFIG, tmp_path).run(
        [Row("3", "dense")], progress=False
    )
    session = Session(tiny_model().eval(), torch.device("cpu"))
    expected = evaluate_questions(session, held_out, [Probe(Setting("keep_all"))], progress=False)
    assert row["giou"] == pytest.approx(expected[0]["giou"], abs=1e-3)
    assert row["families"] == pytest.approx(
        {one["family"]: one["giou"] for one in expected[1:]}, abs=2e-3
    )


def test_tokens_that_may_not_return_do_not():
    from vltp_ros.evaluation.row_runner import _without_return

    scores = torch.tensor([[4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
    rank = _without_return(lambda stage, tokens: scores if stage == 0 else -scores, 0.5)
    rank(0, torch.zeros(2, 4, 1))
    assert rank(1, torch.zeros(2, 4, 1)).topk(2).indices.sort().values.tolist() == [[0, 1], [2, 3]]


def test_a_training_goes_on_from_another(model, train, held_out, tmp_path):
    first = Training(stages=STAGES, rate=0.5)
    on = dataclasses.replace(first, rate=0.8, start=first)
    runner = RowRunner(model, train, held_out, CONFIG, tmp_path)
    before, after = runner._train(first), runner._train(on)
    assert first.name != on.name
    distance = [
        (a - b).abs().max().item()
        for a, b in zip(before.prune_decoder.parameters(), after.prune_decoder.parameters(),
                        strict=True)
    ]  # fmt: skip
    assert 0 < max(distance) < 0.1
    assert model.prune_decoder is not None  # that of the caller is as it was


def test_every_row_has_a_name_of_its_own_and_fits_the_model():
    rows = paper_rows(TABLE_NAMES)
    assert len({row.name for row in rows}) == len(rows)
    trainings = {row.training for row in rows if row.training}
    assert len({training.name for training in trainings}) == len(trainings)
    encoder = model_config("tabletop").encoder
    for row in rows:
        assert set(row.stages) <= {layer + 1 for layer in encoder.global_attn_indexes}
    labels = {(row.table, row.label) for row in rows}
    for one in HYPOTHESES:
        other = one.against_table or ("3" if one.against == "dense" else one.table)
        assert (one.table, one.row) in labels and (other, one.against) in labels
    assert {row.label for row in rows if row.table == "7"} >= set(RIVAL_RATES)


@pytest.mark.slow
def test_the_command_prints_rows_and_hypotheses(train, held_out, tmp_path):
    answer = run(
        Rows(data=train.directory, on=held_out.directory, run=tmp_path, table=("csp",), count=2)
    )
    printed = describe(answer)
    assert "preset 65" in printed and len(answer["rows"]) == 11
    assert printed.count("holds: ") + printed.count("FAILS: ") == len(answer["hypotheses"]) == 6
    with pytest.raises(ValueError, match="--count is 1; it must be at least 2"):
        run(Rows(data=train.directory, on=held_out.directory, run=tmp_path, count=1))


@pytest.mark.parametrize("name", CSP_PRESETS)
def test_rivals_of_a_preset_have_as_many_tokens(name):
    preset = CSP_PRESETS[name]
    for rival in (pruning_alone(preset), clustering_alone(preset)):
        assert mean_share(rival) == pytest.approx(mean_share(preset), abs=0.005)
    assert mean_share(CSP_PRESETS["70"]) < mean_share(CSP_PRESETS["65"]) < 0.5


def measured(table, label, *seeds):
    return [
        {"table": table, "label": label, "seed": number, "scenes": list(seed)}
        for number, seed in enumerate(seeds)
    ]


def test_differences_are_paired_over_scenes_and_have_the_spread_of_seeds():
    rng = np.random.default_rng(0)
    hard = rng.uniform(0.2, 0.9, 200)  # how hard a scene is, which pairing takes out
    rival = [hard + rng.normal(0, 0.01, 200) for _ in range(3)]
    ours = [seed + shift for seed, shift in zip(rival, (0.02, 0.03, 0.04), strict=True)]
    rows = measured("7", "VLTP beside SViT", *ours) + measured("7", "SViT", *rival)
    (answer,) = compare(rows)
    assert answer["name"] == "VLTP beats SViT" and answer["holds"]
    assert answer["difference"] == pytest.approx(3.0)
    assert answer["error"] == pytest.approx((1 / 3) ** 0.5, rel=0.05)  # points: 1 between seeds


@pytest.mark.parametrize(("loss", "holds"), [(0.005, True), (0.0099, False), (0.02, False)])
def test_a_cost_is_bounded_by_its_upper_end(loss, holds):
    noise = np.tile([0.005, -0.005], 50)
    dense = np.full(100, 0.7)
    rows = measured("3", "dense", dense) + measured("3", "both", dense - loss + noise)
    (answer,) = compare(rows)
    assert answer["kind"] == "costs at most" and answer["holds"] is holds

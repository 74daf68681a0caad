"""Rows of the tables on crowded scenes: trained once, measured once, compared with errors."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
import torch
from builders import crowded_scenes, tiny_model

from vltp_ros.cli.main import main
from vltp_ros.cli.tables import describe
from vltp_ros.evaluation.comparisons import HYPOTHESES, compare
from vltp_ros.evaluation.flops import model_gmacs
from vltp_ros.evaluation.questions import Probe, evaluate_questions
from vltp_ros.evaluation.row_runner import RowRunner
from vltp_ros.evaluation.rows import (
    PAPER,
    RIVAL_RATES,
    TABLE_NAMES,
    Row,
    Training,
    clustering_alone,
    mean_share,
    other_rows,
    paper_rows,
    pruning_alone,
    trained_at,
    trained_on,
)
from vltp_ros.evaluation.tabletop import Setting
from vltp_ros.network.config import model_config
from vltp_ros.network.csp import CSP_PRESETS
from vltp_ros.runtime.session import Session
from vltp_ros.training.cached_batches import CachedSource
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.feature_cache import FeatureCache

CONFIG = TrainConfig(
    steps=2, batch=2, tasks_per_image=2, warmup=1, bfloat16=False, optimiser="adamw"
)
LATE_HALF, RATES = (2, 3), (0.5, 0.25)


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
    own = Training(rates=RATES)
    rows = [
        Row("3", "dense"),
        Row("3", "both", own, LATE_HALF, RATES),
        Row("8", "the same", own, LATE_HALF, RATES),
        Row("7", "another", own, LATE_HALF, RATES, another=True),
        Row("6", "stay", own, LATE_HALF, RATES, returns=False),
        Row("7", "SViT", Training("SViT")),
        Row("csp", "preset 65", csp=CSP_PRESETS["65"]),
    ]
    runner = RowRunner(model, train, held_out, CONFIG, tmp_path)
    answers = runner.run(rows, progress=False)
    assert [answer["label"] for answer in answers] == [row.label for row in rows]
    assert all(len(answer["scenes"]) == 2 and answer["gmacs"] > 0 for answer in answers)
    assert answers[1]["gmacs"] != answers[0]["gmacs"] and answers[1]["seed"] == 0
    trained = sorted(path.name for path in (tmp_path / "trainings").iterdir())
    assert trained == ["SViT 2-3 seed 0", "VLTP 2-3 0.5-0.25 seed 0"]
    files = {path.stem for path in (tmp_path / "results val").glob("*.json")}
    assert files == {"settings", *(row.name for row in rows)} and len(files) == len(rows)
    monkeypatch.setattr(runner, "_train", None)
    assert runner.run(rows, progress=False) == answers


def test_results_of_other_settings_are_not_taken(model, train, held_out, tmp_path):
    RowRunner(model, train, held_out, CONFIG, tmp_path)
    readers = dataclasses.replace(CONFIG, readers=3, save_every=7)  # change no result
    RowRunner(model, train, held_out, readers, tmp_path)
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


def test_a_training_goes_on_from_another(model, train, held_out, tmp_path):
    first, on = trained_at(0.5), trained_on(0.8)
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


def test_rows_are_the_papers_with_its_figures():
    rows = paper_rows(TABLE_NAMES, size="vit_h")
    trainings = {row.training for row in rows if row.training}
    assert len({training.name for training in trainings}) == len(trainings)
    for size in ("tabletop", "vit_b", "vit_l", "vit_h"):
        encoder = model_config(size).encoder
        stages = {encoder.depth * q // 4 for row in rows for q in row.quarters}
        assert stages <= {layer + 1 for layer in encoder.global_attn_indexes}
    paper = json.loads(PAPER.read_text())
    count = Counter(row.table for row in rows if row.paper)
    tables = {key[len("table")]: len(entries) for key, entries in paper.items()
              if key.startswith("table") and key[5] in "345"}  # fmt: skip
    assert {table: count[table] for table in tables} == tables
    figures = {(row.table, row.label): dict(row.paper) for row in rows}
    assert figures["4", "80% untrained"] == {"common": 52.1, "uncommon": 32.2}
    assert figures["5", "after 1/4, 1/2 at 20%, 60%"] == {"common": 53.7}
    assert figures["6", "two stages at 70%"] == {"common": 59.6}
    assert figures["7", "DToP"] == {"common": 36.3}
    assert figures["8", "VLTP at 80%"] == {"common": 59.4, "uncommon": 37.6, "coco-tasks": 43.2}


def test_hypotheses_are_about_rows():
    rows = paper_rows(TABLE_NAMES)
    labels = {(row.table, row.label) for row in rows}
    for one in HYPOTHESES:
        other = one.against_table or ("3" if one.against == "dense" else one.table)
        assert {(one.table, one.row), (other, one.against)} <= labels
    assert {row.label for row in rows if row.table == "7"} >= set(RIVAL_RATES)


def test_other_models_keep_their_figures():
    others = {row.label: dict(row.paper) for row in other_rows("2", ["vit_h", None])}
    assert others["SAM ViT-B"] == {"common": 50.9, "uncommon": 27.9} and "MDETR" in others
    assert "SAM ViT-H" not in others and other_rows("4", []) == []


@pytest.mark.slow
def test_the_command_fills_tables_and_prints_them_again(train, held_out, tmp_path, capsys):
    arguments = ["--train-on", str(train.directory), "--on", str(held_out.directory)]
    arguments += ["--run", str(tmp_path), "--table", "8", "csp", "--count", "2", "--steps", "2"]
    assert main(["tables", *arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["hypotheses"]) == 6 and {row["split"] for row in answer["rows"]} == {"val"}
    (tmp_path / "tables.json").write_text(json.dumps(answer))
    assert main(["tables", "--results", str(tmp_path / "tables.json")]) == 0
    printed = capsys.readouterr().out
    assert printed == describe(answer) + "\n"
    assert "preset 65" in printed and "Table 8: sizes and rates" in printed
    assert printed.count("holds: ") + printed.count("FAILS: ") == 6
    own = next(line for line in printed.splitlines() if "tabletop, VLTP at 80%" in line)
    theirs = next(line for line in printed.splitlines() if "SAM ViT-H at 80%" in line)
    assert own.count(".") == 3 and theirs.split()[-3:] == ["59.4", "37.6", "43.2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--train-on, --on, --run: missing"),
        (["--on", "x", "--run", "y"], "--train-on: missing"),
        (["--costs", "--run", "y"], "--costs is given; it does not go with --run"),
        (["--costs", "--results", "y"], "--costs is given; it does not go with --results"),
        (["--results", "/nowhere.json"], "--results is /nowhere.json: No such file"),
        (["--results", str(PAPER)], "it holds no rows of tables"),
        (["--train-on", "a", "--on", "b", "--run", "c", "--count", "1"], "--count is 1; it must"),
        (["--train-on", "a", "--on", "b", "--run", "c", "--seeds", "0"], "--seeds is 0; it must"),
    ],
)
def test_what_does_not_go_together_is_named(arguments, message, capsys):
    assert main(["tables", *arguments]) == 2
    assert message in capsys.readouterr().err


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

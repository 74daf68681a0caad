"""A rehearsal at true size runs the code of trainings and evaluations, here in small."""

from __future__ import annotations

import json
import math

import pytest
import torch

from vltp_ros.checkpoints.errors import ModelError
from vltp_ros.cli import rehearse as command
from vltp_ros.cli.main import main
from vltp_ros.evaluation import rehearsal
from vltp_ros.evaluation.random_models import random_model
from vltp_ros.evaluation.rehearsal import rehearse

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def answer():
    """Of the smallest sizes, as those who have a terminal get it."""
    return rehearse("tabletop", "tabletop", "nf4", CPU, batch=2, micro_batch=1, steps=3)


def test_each_part_tells_time_and_memory(answer):
    names = [row["name"] for row in answer["rows"]]
    assert names[0] == "random LLaVA tabletop in nf4 and SAM tabletop"
    assert [name.split(",")[0] for name in names[1:]] == ["stage 0", "stage 1", "evaluation"]
    assert all(row["seconds"] >= 0 and row["peak_mib"] > 100 for row in answer["rows"])
    assert answer["peak_mib"] == max(row["peak_mib"] for row in answer["rows"])
    assert (answer["batch"], answer["micro_batch"], answer["steps"]) == (2, 1, 3)
    assert "torch" in answer["versions"]


def test_a_step_is_told_where_one_is_neither_first_nor_last(answer):
    for row in answer["rows"][1:3]:
        assert 0 < row["step_seconds"] < row["seconds"]
    for count in range(4):
        source = rehearsal.RandomSource(rehearsal.PRUNING)
        source.starts = [10.0, 13.0, 14.0][:count]  # the first one sets libraries up
        assert source.step_seconds() == (1.0 if count == 3 else None)


def test_both_stages_learn_what_they_are_to_learn(answer):
    model = random_model("tabletop", "tabletop", "float32", CPU)

    def count(*parts):
        return sum(p.numel() for part in parts for p in model.get_submodule(part).parameters())

    adapters, prune = answer["rows"][1:3]
    lora = 8 * 2 * 8 * (128 + 128)  # layers, matrices, rank, width in and out
    assert adapters["learning"] == lora + count("reasoner.projection", "mask_decoder")
    assert prune["learning"] == count("prune_decoder", "pruned_mask_decoder")
    for row in (adapters, prune):
        assert math.isfinite(row["loss"]) and row["checkpoint_mib"] >= row["learning"] * 8 // 2**20


def test_the_sample_is_pruned_by_half_at_each_stage(answer):
    sample = answer["rows"][3]
    assert sample["tokens"] == [512, 512]  # of 32 x 32
    assert {"reasoner", "stem", "mask decoder"} <= sample["times_ms"].keys()
    assert 0 <= sample["giou"] <= 1


def test_it_is_shown_as_a_table_also_where_nobody_tells_the_memory(answer):
    lines = command.describe(answer).splitlines()
    assert len(lines) == 6 and lines[3].startswith("stage 0, 3 steps: adapters")
    rows = [{**row, "peak_mib": None} for row in answer["rows"]]
    assert "-" in command.describe({**answer, "rows": rows}).splitlines()[2]


def test_what_does_not_fit_is_refused_before_anything_is_made(monkeypatch, capsys):
    monkeypatch.setattr(rehearsal, "free_bytes", lambda device: 2**33)
    monkeypatch.setattr(rehearsal, "random_model", None)
    with pytest.raises(ModelError, match=r"LLaVA 13b in nf4 with SAM vit_h needs more than 1\d\."):
        rehearse("vit_h", "13b", "nf4", CPU)
    assert main(["rehearse", "--size", "7b", "--quantization", "bfloat16", "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "GiB are free; allowed: smaller sizes of" in captured.err
    assert main(["rehearse", "--size", "tabletop", "--batch", "0"]) == 2
    assert "batch is 0; it must be at least 1" in capsys.readouterr().err
    assert main(["rehearse", "--size", "tabletop", "--batch", "3", "--micro-batch", "2"]) == 2
    assert "batch is 3 and must be a multiple of it" in capsys.readouterr().err


def test_the_command_prints_json(monkeypatch, capsys):
    def record(*asked, **length):
        return {"asked": [str(value) for value in asked], "length": length}

    monkeypatch.setattr(rehearsal, "rehearse", record)
    words = ["rehearse", "--size", "1b", "--sam", "vit_b", "--device", "cpu", "--steps", "4"]
    assert main([*words, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["asked"] == ["vit_b", "1b", "nf4", "cpu"]
    assert answer["length"] == {"batch": 1, "micro_batch": None, "steps": 4}

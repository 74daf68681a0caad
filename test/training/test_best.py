"""The weights of the best validation: kept while training goes on, and written where asked for."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from grey import Grey

from vltp_ros.checkpoints.model_directory import load_model, read_provenance
from vltp_ros.cli.train import Train, run
from vltp_ros.simulation import generate_dataset
from vltp_ros.training.best import BEST, BestWeights, merit, take_best
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.loop import fit
from vltp_ros.training.run_directory import CHECKPOINT, read_checkpoint
from vltp_ros.training.validation import Validation


class Distance(torch.nn.Module):
    """Learns one number, which steps over the one it should be."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, batch, step):
        if self.training:
            return {"loss": self.weight.sum()}
        return {"loss": (self.weight - 0.75).square().sum()}


SETTINGS = TrainConfig(
    steps=5, batch=1, save_every=2, warmup=0, optimiser="adamw", learning_rate=0.1,
    weight_decay=0.0, schedule="linear", final_share=1.0, bfloat16=False,
)  # fmt: skip


def test_the_best_weights_stay_while_training_goes_on_also_after_a_kill(tmp_path):
    run, stage, source = tmp_path, Distance(), Grey(SETTINGS)
    source.parts = lambda step, process: [source.batch(step)] if step < 4 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        fit(stage, source, SETTINGS, run, validation=Validation(Grey(SETTINGS), 1, 1))
    kept = Distance()
    assert take_best(kept, run) in (2, 3) and kept.weight.item() == pytest.approx(0.75, abs=0.06)
    fit(stage, Grey(SETTINGS), SETTINGS, run, validation=Validation(Grey(SETTINGS), 1, 1))
    again = Distance()
    assert take_best(again, run) == take_best(kept, run) and torch.allclose(
        again.weight, kept.weight
    )
    assert stage.weight.item() == pytest.approx(0.5, abs=0.02)
    assert not (run / "best.part").exists()


def test_masks_count_more_than_losses():
    assert merit({"val_loss": 3.0}) > merit({"val_loss": 4.0})
    assert merit({"val_loss": 4.0, "val_giou": 0.5}) > merit({"val_loss": 3.0, "val_giou": 0.4})


def test_a_run_that_starts_anew_forgets_the_best_one(tmp_path):
    BestWeights(tmp_path, 0).offer(Distance(), 1, {"val_loss": 1.0})
    assert take_best(Distance(), tmp_path) == 1
    BestWeights(tmp_path, 0)
    with pytest.raises(ValueError, match=r"best\.pt does not exist"):
        take_best(Distance(), tmp_path)
    (tmp_path / BEST).write_bytes(b"words")
    with pytest.raises(ValueError, match=r"best\.pt is damaged"):
        BestWeights(tmp_path, 2)


def test_the_model_directory_gets_the_weights_to_keep(data, base, tmp_path):
    generate_dataset(tmp_path / "val", count=1, seed=0, split="val", workers=1, progress=False)
    settings = TrainConfig(
        steps=3, batch=1, tasks_per_image=1, warmup=0, rates=(0.5,), bfloat16=False
    )
    directory, out = tmp_path / "run", tmp_path / "out"
    args = Train("prune", data.directory, directory, out, base, settings, keep="best")
    with pytest.raises(ValueError, match="--keep is best; it needs --val"):
        run(args)
    run(dataclasses.replace(args, val=tmp_path / "val", val_every=1))
    lines = [json.loads(line) for line in (directory / "losses.jsonl").read_text().splitlines()]
    values = [line["val_giou"] for line in lines]
    best = values.index(max(values)) + 1
    kept = read_checkpoint(directory / BEST, {"stage", "step"})
    assert kept["step"] == best
    assert read_provenance(out)["sources"][-1].endswith(
        f"; kept after step {best}, the best validation"
    )
    name = "prune_decoder.query.weight"
    written = load_model(out).get_parameter(name)
    assert torch.allclose(written, kept["stage"][f"model.{name}"], atol=1e-3)  # half precision
    assert read_checkpoint(directory / CHECKPOINT)["step"] == 3

"""A stopped training goes on as if it had not been, or is refused by name."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from builders import tiny_model

from vltp_ros.checkpoints.model_directory import save_model
from vltp_ros.cli.train import Train, run
from vltp_ros.data.scenes import TabletopDataset
from vltp_ros.simulation import TASKS, generate_dataset
from vltp_ros.training.batches import BatchSource
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.loop import fit
from vltp_ros.training.stages import DenseStage
from vltp_ros.training.start import take_heads

SETTINGS = TrainConfig(steps=4, batch=2, tasks_per_image=2, warmup=1, save_every=2, bfloat16=False)


def test_a_killed_run_resumes_to_the_same_weights(data, tmp_path):
    def stage_and_source():
        torch.manual_seed(0)
        stage = DenseStage(tiny_model(), SETTINGS, *2 * [len(data.kinds)])
        return stage, BatchSource(data, TASKS, SETTINGS)

    straight, source = stage_and_source()
    fit(straight, source, SETTINGS, tmp_path / "straight")

    killed, source = stage_and_source()
    forward = killed.forward

    def die_late(batch, step):
        if step == 3:
            raise KeyboardInterrupt
        return forward(batch, step)

    killed.forward = die_late
    with pytest.raises(KeyboardInterrupt):
        fit(killed, source, SETTINGS, tmp_path / "killed")

    resumed, source = stage_and_source()
    fit(resumed, source, SETTINGS, tmp_path / "killed")
    for (name, a), b in zip(straight.named_parameters(), resumed.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6), name
    lines = (tmp_path / "killed" / "losses.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2, 3]


@pytest.fixture
def begun(data, base, tmp_path):
    """What goes on with a run of two steps in other ways."""
    settings = dataclasses.replace(SETTINGS, steps=2)

    def train(stage="prune", source=data, init=base, **changes):
        own = dataclasses.replace(settings, **changes)
        out = tmp_path / f"out {len(list(tmp_path.iterdir()))}"
        run(Train(stage, source.directory, tmp_path / "run", out, init, own))

    train()
    return train


def test_a_run_goes_on_only_with_what_it_was_begun_with(begun, data, tmp_path):
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["--stage"], record["--batch"], record["--rates"]) == ("prune", 2, [0.5])
    begun(readers=2, save_every=1)  # change no result
    again = f"the run in {tmp_path / 'run'} was begun with {{}}; give the same, or another --run"
    for changes, option, before in (
        ({"batch": 1}, "--batch is 1", "2"),
        ({"learning_rate": 0.5}, "--learning-rate is 0.5", "0.001"),
        ({"rates": (0.5, 0.7)}, "--rates is 0.5 0.7", "0.5"),
        ({"steps": 3}, "--steps is 3", "2"),
        ({"stage": "attention"}, "--stage is attention", "prune"),
    ):
        with pytest.raises(ValueError) as caught:
            begun(**changes)
        assert str(caught.value) == f"{option}; {again.format(before)}"
    test = tmp_path / "test"
    generate_dataset(test, count=3, seed=0, split="test", workers=1, progress=False)
    reason = r"--data is 3 test scenes of edition 1 .*; the run in .* with 3 train scenes of"
    with pytest.raises(ValueError, match=reason):
        begun(source=TabletopDataset(test))
    save_model(tiny_model(seed=1), tmp_path / "other", {"licence": "Apache-2.0", "sources": []})
    with pytest.raises(ValueError, match=r"--init is tiny \(.*; the run in .* with tiny \("):
        begun(init=tmp_path / "other")


def test_a_run_of_an_earlier_version_goes_on(begun, tmp_path):
    (tmp_path / "run" / "run.json").unlink()
    begun()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["--steps"] == 2


def test_a_run_without_a_checkpoint_may_begin_with_anything(begun, tmp_path):
    (tmp_path / "run" / "checkpoint.pt").unlink()
    begun(batch=1)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["--batch"] == 1


@pytest.mark.parametrize("damage", [b"", b"words", None])
def test_a_damaged_checkpoint_is_one_line(begun, tmp_path, damage):
    path = tmp_path / "run" / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-1000] if damage is None else damage)
    with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged .*; put a copy in") as caught:
        begun()
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged"):
        take_heads(torch.nn.Linear(1, 1), path.parent)


def test_optimisers_of_other_weights_are_refused(begun, tmp_path):
    (tmp_path / "run" / "run.json").unlink()  # which would say so
    with pytest.raises(ValueError, match=r"of another run: its optimisers are of other weights"):
        begun(optimiser="adamw")

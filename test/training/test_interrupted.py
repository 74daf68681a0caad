"""Trainings that are killed at any moment, or find the disk full, and go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from builders import assert_same_weights, room_for
from grey import Grey

from vltp_ros.cli.main import main
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.journals import LossLines
from vltp_ros.training.loop import fit
from vltp_ros.training.run_directory import CHECKPOINT, read_checkpoint

DIE_IN_A_STEP = """
import os, signal
from vltp_ros.training.stages import PrunedStage
forward = PrunedStage.forward
def die(self, batch, step):
    losses = forward(self, batch, step)
    if step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return losses
PrunedStage.forward = die
"""

DIE_WHILE_SAVING = """
import os, signal
replace = os.replace
def die(source, target):
    if str(target).endswith("checkpoint.pt"):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = die
"""


def run_until_killed(arguments: list[str], code: str) -> None:
    """Run vltp in a process of its own, which some Python code kills."""
    main_code = f"{code}\nfrom vltp_ros.cli.main import main\nmain()"
    done = subprocess.run([sys.executable, "-c", main_code, *arguments], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def steps_of(run):
    return [json.loads(line)["step"] for line in (run / "losses.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_training_that_is_killed_twice_learns_what_one_does_that_is_not(data, model, tmp_path):
    arguments = ["train", "--stage", "prune", "--data", str(data.directory), "--init", model]
    arguments += ["--device", "cpu", "--no-bfloat16", "--steps", "5", "--save-every", "2"]
    arguments += ["--batch", "2", "--tasks-per-image", "1", "--warmup", "1"]
    straight, killed, out = tmp_path / "straight", tmp_path / "killed", tmp_path / "model"
    assert main([*arguments, "--run", str(straight), "--out", str(tmp_path / "other")]) == 0
    interrupted = [*arguments, "--run", str(killed), "--out", str(out)]
    run_until_killed(interrupted, DIE_IN_A_STEP)
    assert read_checkpoint(killed / CHECKPOINT)["step"] == 2
    run_until_killed(interrupted, DIE_WHILE_SAVING)
    assert (killed / "checkpoint.part").is_file() and not out.exists()
    assert read_checkpoint(killed / CHECKPOINT)["step"] == 2 and steps_of(killed) == [0, 1, 2, 3]
    assert main(interrupted) == 0
    assert sorted(os.listdir(killed)) == sorted(os.listdir(straight))
    one, other = (read_checkpoint(run / CHECKPOINT)["stage"] for run in (straight, killed))
    assert_same_weights(one, other)
    texts = [(run / "losses.jsonl").read_text().splitlines() for run in (straight, killed)]
    assert len(texts[0]) == 5
    for line, again in zip(*texts, strict=True):
        assert json.loads(again) == pytest.approx(json.loads(line), abs=2e-4)


class Brightness(torch.nn.Module):
    """Learns one number, beside many that its checkpoint has."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.register_buffer("many", torch.zeros(10000))

    def forward(self, batch, step):
        return {"loss": self.weight.squeeze() * batch.images.float().mean() / 255}


def test_a_full_disk_is_said_and_leaves_the_checkpoint_before(tmp_path):
    settings = TrainConfig(steps=3, batch=1, save_every=2, bfloat16=False)
    fit(Brightness(), Grey(settings), settings, tmp_path / "straight")
    run, path = tmp_path / "run", tmp_path / "run" / CHECKPOINT
    cut_short = Grey(settings)
    cut_short.parts = lambda step, process: [cut_short.batch(step)] if step < 2 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        fit(Brightness(), cut_short, settings, run)
    with pytest.raises(OSError) as raised, room_for(20000):
        fit(Brightness(), Grey(settings), settings, run)
    assert raised.value.filename == str(path) and "too large" in raised.value.strerror
    assert read_checkpoint(path)["step"] == 2 and not path.with_suffix(".part").exists()
    resumed = Brightness()
    fit(resumed, Grey(settings), settings, run)
    expected = read_checkpoint(tmp_path / "straight" / CHECKPOINT)["stage"]["weight"]
    assert torch.allclose(resumed.weight, expected) and steps_of(run) == [0, 1, 2]


def test_a_full_disk_names_the_file_of_losses(tmp_path):
    journal = LossLines(tmp_path, 0)
    journal.write(0, {"loss": 1.0})
    with pytest.raises(OSError) as raised, room_for(8):
        journal.flush()
    assert raised.value.filename == str(tmp_path / "losses.jsonl")
    journal.close()

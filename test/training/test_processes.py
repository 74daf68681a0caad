"""Processes of a launcher learn as one does whose batch is as large, and a lost one ends all."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest
import torch
from launched import assert_same_training, launch, losses
from public_data import write_rio

from vltp_ros.cli.main import main
from vltp_ros.simulation import generate_dataset
from vltp_ros.training.run_directory import CHECKPOINT

COMMON = ["--device", "cpu", "--no-bfloat16", "--steps", "3", "--warmup", "1", "--save-every", "2"]
SMALL = ["--batch", "4", "--tasks-per-image", "2"]


@pytest.mark.slow
def test_two_processes_train_as_one_on_scenes(data, model, tmp_path):
    arguments = ["train", "--stage", "prune", "--data", str(data.directory), "--init", model]
    arguments += [*COMMON, *SMALL]
    one, two = tmp_path / "one", tmp_path / "two"
    assert main([*arguments, "--run", str(one), "--out", str(tmp_path / "model")]) == 0
    done = launch(*arguments, "--run", str(two), "--out", str(tmp_path / "model2"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model2" / "model.yaml").is_file()
    assert_same_training(one, two)


@pytest.mark.slow
def test_two_processes_train_as_one_on_a_data_set(model, tmp_path):
    pytest.importorskip("pycocotools", reason="pycocotools is missing: pip install '.[data]'")
    write_rio(tmp_path / "root")
    arguments = ["train", "--stage", "prune", "--data", str(tmp_path / "root"), "--init", model]
    arguments += ["--dataset", "rio-train", *COMMON, *SMALL]
    one, two = tmp_path / "one", tmp_path / "two"
    assert main([*arguments, "--run", str(one), "--out", str(tmp_path / "model")]) == 0
    done = launch(*arguments, "--run", str(two), "--out", str(tmp_path / "model2"))
    assert done.returncode == 0, done.stderr
    assert_same_training(one, two)


LOSE_ONE = """
import os, signal
from vltp_ros.training.replica import Replica
learn = Replica.learn
def lose(self, parts, step, *rest):
    if self.process.rank == 1 and step == 3:  # the first one has saved when step 2 is done
        os.kill(os.getpid(), signal.SIGKILL)
    return learn(self, parts, step, *rest)
Replica.learn = lose
"""


@pytest.mark.slow
def test_a_lost_process_ends_the_others_and_the_next_run_goes_on(data, model, tmp_path):
    """Adapters drop the same weights, too, where a process alone has parts as large."""
    arguments = ["finetune", "--data", str(data.directory), "--init", model, *COMMON]
    arguments += ["--steps", "4", "--batch", "4", "--micro-batch", "2", "--val-count", "1", "--val"]
    one, two, out = tmp_path / "one", tmp_path / "two", tmp_path / "model2"
    held_out = tmp_path / "held_out"
    generate_dataset(held_out, count=1, seed=0, split="val", workers=1, progress=False)
    arguments.append(str(held_out))
    assert main([*arguments, "--run", str(one), "--out", str(tmp_path / "model")]) == 0
    shared = [*arguments, "--run", str(two), "--out", str(out)]
    done = launch(*shared, start=LOSE_ONE)
    assert done.returncode != 0 and "SIGKILL" in done.stderr
    assert torch.load(two / CHECKPOINT, weights_only=True)["step"] == 2 and not out.exists()
    done = launch(*shared)
    assert done.returncode == 0, done.stderr
    assert (out / "model.yaml").is_file() and len(losses(two)) == 4
    assert_same_training(one, two)


WAIT = """
import os, sys, time
from pathlib import Path
from vltp_ros.processes import together
with together(cpu=True):
    Path(sys.argv[1], os.environ["RANK"]).write_text(str(os.getpid()))
    time.sleep(60)
"""


@pytest.mark.slow
def test_processes_end_with_their_launcher(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
    command += ["--nproc-per-node", "2", "--", sys.executable, "-c", WAIT, str(tmp_path)]
    with subprocess.Popen(command) as launcher:
        pids = wait_until(lambda: [path.read_text() for path in tmp_path.iterdir()], count=2)
        launcher.kill()
    wait_until(lambda: [pid for pid in pids if not is_running(int(pid))], count=2)


def wait_until(listed, count):
    """What is listed, once it is so many."""
    end = time.monotonic() + 60
    while len(values := [value for value in listed() if value]) < count:
        assert time.monotonic() < end, values
        time.sleep(0.1)
    return values


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    "words",
    [
        ["baselines", "--data", "d", "--run", "r"],
        ["tables", "--train-on", "d", "--on", "val", "--run", "r"],
    ],
)
def test_several_processes_for_what_runs_in_one_are_refused(words, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "1")
    assert main(words) == 2
    said = f"vltp {words[0]}: a launcher started 3 processes, and vltp {words[0]} runs in one"
    assert said in capsys.readouterr().err


def test_a_batch_that_processes_cannot_share_is_refused(data, model, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "0")
    arguments = ["train", "--stage", "prune", "--data", str(data.directory), "--init", model]
    arguments += ["--run", str(tmp_path / "run"), "--out", str(tmp_path / "out"), *COMMON]
    assert main([*arguments, "--batch", "6", "--micro-batch", "3"]) == 2
    said = "--batch is 6; 3 processes with 3 images at once need a multiple of 9"
    assert said in capsys.readouterr().err and not (tmp_path / "run").exists()
    monkeypatch.delenv("WORLD_SIZE")
    assert main([*arguments, "--batch", "4", "--micro-batch", "3"]) == 2
    assert "--micro-batch is 3; --batch is 4 and must be" in capsys.readouterr().err

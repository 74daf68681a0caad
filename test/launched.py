"""Trainings in several processes of torchrun, and their comparison."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from builders import assert_same_weights

from vltp_ros.training.run_directory import CHECKPOINT


def launch(*arguments: str, processes: int = 2, start: str = "") -> subprocess.CompletedProcess:
    """Run a vltp command in processes of torchrun, each after some Python code."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
    code = f"{start}\nimport sys\nfrom vltp_ros.cli.main import main\nsys.exit(main())"
    command = [*launcher, "--nproc-per-node", str(processes), "--"]
    command += [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def learnt(run):
    return torch.load(run / CHECKPOINT, weights_only=True)["stage"]


def losses(run):
    return [json.loads(line) for line in (run / "losses.jsonl").read_text().splitlines()]


def assert_same_training(one, other):
    """The two runs have the same weights and losses, but for rounding."""
    assert_same_weights(learnt(one), learnt(other))
    for line, again in zip(losses(one), losses(other), strict=True):
        assert again == pytest.approx(line, abs=2e-4)

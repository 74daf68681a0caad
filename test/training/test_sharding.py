"""Frozen weights in parts, 4-bit ones too: what is learnt is what one process learns."""

from __future__ import annotations

import pytest
from launched import assert_same_training, launch

from vltp_ros.cli.main import main
from vltp_ros.training.run_directory import CHECKPOINT, read_checkpoint

CHECK_PARTS = """
import os, torch
from vltp_ros.training.replica import Replica
learn = Replica.learn
def check(self, parts, step, *rest):
    if step == STEPS and self.process.is_first:  # which has saved what it did before
        os._exit(1)
    if step:
        return learn(self, parts, step, *rest)
    decoder = self.stage.model.reasoner.llava.model.language_model
    layers = [m for m in decoder.modules() if isinstance(m, torch.nn.Linear)]
    frozen = [layer.weight for layer in layers if not layer.weight.requires_grad]
    whole, own = (sum(map(torch.numel, ws)) for ws in (frozen, [w.to_local() for w in frozen]))
    assert len(frozen) >= 35 and own == whole / 2, (len(frozen), own, whole)
    return learn(self, parts, step, *rest)
Replica.learn = check
"""


@pytest.mark.slow
@pytest.mark.parametrize(("quantization", "steps"), [("float32", 3), ("nf4", 2)])
def test_adapters_learn_the_same_on_weights_in_parts(data, model, tmp_path, quantization, steps):
    """A training that two processes left after two steps is finished by one."""
    arguments = ["finetune", "--data", str(data.directory), "--init", model, "--device", "cpu"]
    arguments += ["--quantization", quantization, "--no-bfloat16", "--batch", "2", "--steps", "3"]
    arguments += ["--micro-batch", "1", "--warmup", "1", "--save-every", "1"]
    one, two, out = tmp_path / "one", tmp_path / "two", tmp_path / "model2"
    assert main([*arguments, "--run", str(one), "--out", str(tmp_path / "model")]) == 0
    shared = [*arguments, "--run", str(two), "--out", str(out)]
    done = launch(*shared, "--shard-weights", start=f"STEPS = {steps}\n{CHECK_PARTS}")
    assert (done.returncode == 0) == (steps == 3) == out.exists(), done.stderr
    if steps < 3:
        assert read_checkpoint(two / CHECKPOINT)["step"] == steps
        assert main(shared) == 0
    assert_same_training(one, two)


def test_a_process_alone_has_nobody_to_share_weights_with(data, model, tmp_path, capsys):
    arguments = ["finetune", "--data", str(data.directory), "--init", model, "--shard-weights"]
    run = tmp_path / "run"
    assert main([*arguments, "--run", str(run), "--out", str(tmp_path / "out")]) == 2
    assert "--shard-weights is given and there is one process" in capsys.readouterr().err
    assert not run.exists()

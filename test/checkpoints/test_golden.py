"""The golden answer: recorded once, asked again whenever a model is warmed up."""

from __future__ import annotations

import shutil

import pytest
import yaml
from safetensors.torch import load_file, save_file

from vltp_ros.checkpoints.errors import ModelError
from vltp_ros.checkpoints.golden import read_golden
from vltp_ros.checkpoints.model_directory import load_model, save_model, sha256
from vltp_ros.cli.main import main
from vltp_ros.paths import default_model
from vltp_ros.runtime.session import Session


@pytest.fixture
def tabletop(tmp_path):
    """A copy of the model that ships, to be changed."""
    return shutil.copytree(default_model(), tmp_path / "tabletop")


def test_what_ships_answers_as_it_did_whatever_is_chosen():
    session = Session.load(default_model(), runner="eager", rates=(0.9,), threshold=0.9)
    assert session.golden is not None and session.golden.mask.any()
    session.warm_up()
    assert (set(session.settings.rates), session.settings.threshold) == ({0.9}, 0.9)
    session.close()


def test_fewer_bits_are_no_other_answer():
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is missing: no 4-bit weights")
    session = Session.load(default_model(), runner="eager", quantization="nf4")
    session.warm_up()
    session.close()


def test_weights_that_are_others_than_they_were_are_noticed(tabletop):
    path = tabletop / "dense.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("blocks.3.mlp.lin1.weight"))
    save_file({**tensors, name: tensors[name].flip(0)}, path)
    description = yaml.safe_load((tabletop / "model.yaml").read_text())
    description["sha256"][path.name] = sha256(path)  # so that nothing else tells
    (tabletop / "model.yaml").write_text(yaml.safe_dump(description))
    session = Session.load(tabletop, runner="eager")
    with pytest.raises(RuntimeError, match=r"'something to drive a nail' have an IoU of 0\.\d\d"):
        session.warm_up()
    session.close()


@pytest.mark.parametrize(
    ("description", "files"),
    [("words", True), ({"task": 3}, True), ({"task": "cut"}, False)],
)
def test_a_golden_answer_that_makes_no_sense_is_refused(tabletop, description, files):
    path = tabletop / "model.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "golden": description}))
    if not files:
        (tabletop / "golden" / "mask.png").unlink()
    with pytest.raises(ModelError, match=r"model\.yaml: golden is .* needs a task"):
        read_golden(tabletop)


def record(model, task):
    picture = str(default_model() / "golden" / "image.png")
    return main(["golden", str(model), "--image", picture, "--task", task, "--device", "cpu"])


def test_another_one_can_be_recorded_and_goes_with_the_weights(tabletop, capsys):
    assert record(tabletop, "something to drink from") == 2
    assert "the model finds nothing for 'something to drink from'" in capsys.readouterr().err
    assert record(tabletop, "something to cut bread") == 0
    golden = read_golden(tabletop)
    assert golden.task == "something to cut bread" and golden.mask.any()
    save_model(load_model(tabletop), tabletop, {"licence": "Apache-2.0", "sources": []})
    assert read_golden(tabletop) is None and not (tabletop / "golden").exists()

"""The command as a user runs it: JSON on stdout, one line and exit 2 for bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import tiny_model
from PIL import Image

from vltp_ros.checkpoints.model_directory import save_model
from vltp_ros.cli.main import COMMANDS, main


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model") / "tiny"
    save_model(tiny_model(), directory, {"licence": "Apache-2.0", "sources": []})
    return str(directory)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "table.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    return str(path)


@pytest.mark.parametrize("trained_on", [None, "simulated tabletop scenes"])
def test_segment_says_once_that_a_model_knows_no_photographs(
    trained_on, picture, tmp_path, capsys, caplog
):
    directory, about = tmp_path / "model", {"trained_on": trained_on} if trained_on else {}
    save_model(tiny_model(), directory, {"licence": "Apache-2.0", "sources": [], **about})
    arguments = ["segment", picture, "--task", "cut bread", "--task", "drink"]
    assert main([*arguments, "--model", str(directory), "--out", str(tmp_path), "--json"]) == 0
    caveat = f"{directory} was trained on {trained_on} only; answers on photographs mean nothing"
    said = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert said == ([caveat] if trained_on else [])
    assert json.loads(capsys.readouterr().out)["caveat"] == (caveat if trained_on else "")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["segment", "none.png", "--task", "cut", "--model", "{model}"], "none.png does not exist"),
        (["segment", "{picture}", "--model", "{model}"], "--task"),
        (["segment", "{picture}", "--task", "", "--model", "{model}"], "must be a sentence"),
        (["segment", "{picture}", "--task", "cut", "--model", "gone"], "gone/model.yaml does not"),
        (
            ["segment", "{picture}", "--task", "cut", "--model", "{model}", "--rates", "1.0"],
            "rates is 1.0",
        ),
        (
            [
                "segment",
                "{picture}",
                "--task",
                "cut",
                "--model",
                "{model}",
                "--prune-after",
                "7",
                "--rates",
                "0.5",
            ],
            r"prune_after is (7,)",
        ),
        (
            ["segment", "{picture}", "--task", "cut", "--model", "{model}", "--device", "toaster"],
            "toaster",
        ),
        (["flops", "--rates", "2"], "rate is 2.0"),
        (["flops", "--sam", "vit_b", "--prune-after", "5"], "allowed: ascending"),
        (["evaluate", "--model", "{model}", "--split", "moon"], "moon"),
        (["scenes", "--count", "0", "--out", "{out}"], "count"),
        (["bake"], "unknown command 'bake'"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, reason, model, picture, tmp_path, capsys):
    places = {"model": model, "picture": picture, "out": str(tmp_path / "new")}
    filled = [argument.format(**places) for argument in arguments]
    try:
        status = main(filled)
    except SystemExit as stop:  # tyro's own, for arguments that do not parse
        status = stop.code
    captured = capsys.readouterr()
    assert status == 2 and reason in captured.err and captured.out == ""
    assert "Traceback" not in captured.err


def test_flops_prints_json(capsys):
    arguments = ["flops", "--sam", "vit_h", "--prune-after", "16", "24", "--rates", "0.5", "0.5"]
    assert main([*arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["gmacs"] < answer["dense_gmacs"] and len(answer["stages"]) == 3


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0 and "--json" in capsys.readouterr().out

"""The command as a user runs it: JSON on stdout, one line and exit 2 for bad input."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
from builders import tiny_model
from PIL import Image

from vltp_ros.checkpoints.model_directory import save_model
from vltp_ros.cli.main import main


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
            "--rates is 1.0; it must be below 1.0",
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
        (["flop"], "; did you mean flops?"),
        (["help", "flop"], "; did you mean flops?"),
        (["flops", "--rate", "0.5"], "unknown option --rate; did you mean --rates?"),
        (["flops", "--rates=0.5", "--zzz=1"], "unknown option --zzz\n"),
        (["flops", "vit_b"], "unexpected word 'vit_b'"),
        (["flops", "--rates", "half"], "--rates is 'half'; it must be a number"),
        (["flops", "--rates", "nan"], "--rates is nan; it must be finite"),
        (["flops", "--sam", "vit_x"], "--sam is 'vit_x'; allowed: tabletop, vit_b, vit_l, vit_h;"),
        (["flops", "--csp", "65"], "--csp is 65, which needs --llava"),
        (["flops", "--llava", "7b", "--sam", "vit_b"], "--sam is vit_b; it has no effect with"),
        (["flops", "--llava", "7b", "--rates", "0.1"], "--rates is (0.1,); it has no effect with"),
        (["evaluate", "--rate", "0.5"], "--rate is 0.5; it has no effect without --selector"),
        (
            ["evaluate", "--selector", "keep_all", "adaptive", "--rate", "0.5"],
            "--rate is 0.5; it has no effect with --selector keep_all adaptive",
        ),
        (["evaluate", "--data", "d", "--split", "val"], "--split is val; it has no effect with"),
        (
            ["evaluate", "--data", "d", "--selector", "random", "--control", "ranking"],
            "--control is ranking; it has no effect with --selector random",
        ),
        (["evaluate", "--control", "grey"], "--control is grey, which needs --data"),
        (["segment"], "a picture is missing"),
        (["train", "--stage", "dense", "--dat", "x"], "unknown option --dat; did you mean --data?"),
        (["train", "--data", "x", "--run", "r"], "--stage is missing; allowed: encoder, tower"),
        (["train", "--data", "x", "--run"], "--run has too few values; it needs PATH"),
        (["train", "--steps", "0"], "missing"),
        (["benchmark"], "one word is missing: encoder, reasoner, node, images"),
        (["benchmark", "encoder", "node"], "unexpected word 'node'\n"),
        (["convert", "--out", "x"], "--out is out of place; it goes after the one of sam, lisa,"),
        (["benchmark", "images", "--threads", "1"], "--threads is out of place; it goes after"),
        (["benchmark", "encodr"], "unexpected word 'encodr'; did you mean encoder?"),
        (["benchmark", "encoder", "--treads", "1"], "did you mean --threads?"),
        (["segment", "x", "--adaptive", "--selector", "attention"], ": --selector is 'attention'"),
        (["segment", "x", "--reuse.max-age", "-1"], "--reuse.max-age is -1.0; it must be at least"),
        (["scenes", "--count", "1", "--out", "{picture}"], "table.jpg/images: Not a directory"),
        (["completion", "csh"], "the shell is 'csh'; allowed: bash, zsh, fish"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, reason, model, picture, tmp_path, capsys):
    places = {"model": model, "picture": picture, "out": str(tmp_path / "new")}
    filled = [argument.format(**places) for argument in arguments]
    assert main(filled) == 2
    captured = capsys.readouterr()
    assert reason in captured.err and captured.out == ""
    assert captured.err.startswith("vltp") and captured.err.count("\n") == 1


def test_flops_prints_json(capsys):
    arguments = ["flops", "--sam", "vit_h", "--prune-after", "16", "24", "--rates", "0.5", "0.5"]
    assert main([*arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["gmacs"] < answer["dense_gmacs"] and len(answer["stages"]) == 3


@pytest.fixture
def logs(caplog):
    yield caplog
    logging.disable(logging.NOTSET)  # what --quiet does is for the whole process


def test_quiet_and_verbose(model, picture, tmp_path, logs):
    arguments = ["segment", picture, "--task", "cut", "--model", model, "--out", str(tmp_path)]
    assert main(arguments) == 0 and f"loading {model}" in logs.text
    assert main([*arguments, "--image-topic", "x"]) == 2 and "Traceback" not in logs.text
    assert main([*arguments, "--image-topic", "x", "--verbose"]) == 2 and "Traceback" in logs.text
    logs.clear()
    assert main([*arguments, "--quiet"]) == 0 and logs.text == ""


WITHOUT = """
from importlib.machinery import PathFinder
find_spec = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name == "{missing}" else find_spec(name, *rest)
"""


@pytest.mark.parametrize("edition", ["1", "2"])
def test_what_an_extra_lacks_is_said_with_what_brings_it(edition, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT.format(missing="mujoco"))
    path = os.pathsep.join((str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "vltp_ros", "scenes", "--count", "1", "--workers", "1"),
            *("--edition", edition, "--out", tmp_path / "out"),
        ],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "No module named 'mujoco'" in done.stderr and "[simulation]'\n" in done.stderr

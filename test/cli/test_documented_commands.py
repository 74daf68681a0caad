"""The commands that README, documents and scripts print do what they say, as they are printed."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from public_data import write_coco_tasks, write_rio

from vltp_ros.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("models/**/*.md")])

RUN = (
    "segment docs/", "figures", "flops", "plot", "reliability --count", "evaluate --s", "scenes",
    "tables --costs",
)  # fmt: skip
"""What the commands begin with that are run here, on fewer scenes than printed."""

NOT_RUN = {
    "baselines": "trains; see test_baselines.py",
    "benchmark": "takes minutes, some on a GPU; see test_benchmark.py",
    "check": "takes minutes; see test_check.py",
    "data": "needs public data; see test/data",
    "convert": "needs public weights; see test/checkpoints",
    "evaluate": "some need scenes, a model of one's own or public data; the others are run",
    "finetune": "needs public weights; see test_finetuning.py",
    "golden": "needs a model of one's own; see test_golden.py",
    "merge": "needs a model of one's own; see test_adapters.py",
    "rehearse": "takes minutes and many GiB; see test_rehearsal.py",
    "reliability": "--fit changes the model; see test_reliability.py",
    "segment": "needs pictures of one's own; see test_segment.py",
    "tables": "trains; see test_rows.py",
    "train": "trains; see test_training.py",
}
"""Why the others are not."""


def printed(text: str) -> list[str]:
    """The vltp commands in the code blocks of a text, without what the shell does."""
    joined = text.replace("\\\n", " ")
    lines = re.findall(r"^ {4}(?:\S+=\S+ )*vltp (.*)$", joined, re.MULTILINE)
    return [re.split(r"\s+#\s|\s+>\s", line)[0].strip() for line in lines]


ALL = sorted({line for document in DOCUMENTS for line in printed(document.read_text())})

HOW_TO = "## Train and evaluate on RIO and COCO-Tasks\n"
"""Heading in docs/reproduce.md of the commands that are run one after the other."""

FEWER = "--steps 1 --batch 2 --warmup 1 --val-count 2 --no-bfloat16"
"""What is added to those that train."""


class ParsedError(Exception):
    """Says that a command was understood."""


def is_understood(words: list[str], monkeypatch) -> bool:
    """Whether a command's words are its own, without running it."""
    if words[0] in COMMANDS:
        module = importlib.import_module(f"vltp_ros.cli.{words[0]}")

        def stop(options):
            raise ParsedError

        monkeypatch.setattr(module, "run", stop)
    try:
        main(words)
    except ParsedError:
        return True
    except SystemExit as stopped:  # --help
        return stopped.code == 0
    return False


def test_there_are_commands_to_check():
    assert len(ALL) > 40
    left = {line.split()[0] for line in ALL if not line.startswith(RUN) and "--help" not in line}
    assert left == NOT_RUN.keys()


@pytest.mark.parametrize("line", ALL)
def test_a_printed_command_is_understood(line, monkeypatch, capsys):
    assert is_understood(shlex.split(line), monkeypatch), capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in ALL if line.startswith(RUN)])
def test_a_printed_command_does_its_work(line, monkeypatch, tmp_path, capsys):
    if line.startswith(("figures", "evaluate", "reliability", "scenes")) and "--image" not in line:
        if find_spec("mujoco") is None:  # not imported: that is for whoever chooses its OpenGL
            pytest.skip("MuJoCo is missing: pip install mujoco")
        line = re.sub(r" --count \d+", "", line) + " --count 2"
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    run = tmp_path / "runs" / "prune"
    run.mkdir(parents=True)
    (run / "losses.jsonl").write_text('{"step": 0, "loss": 2.0}\n{"step": 1, "loss": 1.0}\n')
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)) == 0
    answer = capsys.readouterr().out
    named = re.findall(r"\S+\.png", answer)
    assert all(Path(path).is_file() for path in named)
    assert bool(named) == line.startswith(("segment", "figures", "plot"))
    assert answer.strip() or line.startswith("scenes")


@pytest.mark.slow
def test_the_how_to_trains_and_evaluates_as_it_is_printed(base, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pycocotools", reason="pycocotools is missing: pip install '.[data]'")
    write_rio(tmp_path / "ROOT")
    write_coco_tasks(tmp_path / "ROOT")
    (tmp_path / "MODEL").symlink_to(base)
    monkeypatch.chdir(tmp_path)
    section = (ROOT / "docs" / "reproduce.md").read_text().split(HOW_TO)[1].split("\n## ")[0]
    lines = printed(section)
    assert [line.split()[0] for line in lines] == [
        "data", *["finetune"] * 2, *["train"] * 3, *["evaluate"] * 4
    ]  # fmt: skip
    for line in lines:
        trains = line.startswith(("finetune", "train"))
        status = main([*shlex.split(line), *(shlex.split(FEWER) if trains else ())])
        output = capsys.readouterr()
        assert status == 0, (line, output.err)
        if trains:
            assert (Path(line.split("--out ")[1].split()[0]) / "model.yaml").is_file()
        if line.startswith("evaluate"):
            assert "gIoU" in output.out and " expressions; " in output.out


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("train_*.sh")), ids=str)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_script_s_commands_are_understood(script, device, monkeypatch, tmp_path, capsys):
    """A stand-in for vltp notes how it is called."""
    called = tmp_path / "called"
    stand_in = tmp_path / "bin" / "vltp"
    stand_in.parent.mkdir()
    stand_in.write_text(
        '#!/usr/bin/env python3\nimport json, sys\nprint(json.dumps(sys.argv[1:]), file=open("'
        f'{called}", "a"))\n'
    )
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DEVICE": device, "WORK": str(tmp_path / "work")}
    subprocess.run(["bash", str(script)], env=environment, check=True, cwd=ROOT)
    calls = [json.loads(line) for line in called.read_text().splitlines()]
    assert len(calls) > 3
    for words in calls:
        assert is_understood(words, monkeypatch), (words, capsys.readouterr().err)

"""The commands that README, documents and scripts print do what they say, as they are printed."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import signal
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from documented import (
    DOCUMENTS,
    NEEDS_ROS,
    NOT_RUN,
    PICTURE,
    ROOT,
    prepare_directory,
    printed,
    provide,
    reason_not_to_run,
    run_by_tests,
    snippets,
)
from PIL import Image

from vltp_ros.cli.main import COMMANDS, main
from vltp_ros.rig.processes import own_network

PRINTED = sorted({line for document in DOCUMENTS for line in printed(document)})
UNDERSTOOD = [line.split(" > ")[0] for line in PRINTED if line.startswith("vltp ")]
RUN = {
    (str(document.relative_to(ROOT)), needs_ros): lines
    for document, commands in run_by_tests().items()
    for needs_ros in (False, True)
    if (lines := [line for line in commands if bool(re.match(NEEDS_ROS, line)) == needs_ros])
}


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
        return main(words) == 0  # help
    except ParsedError:
        return True
    except SystemExit as stopped:  # --help
        return stopped.code == 0


def test_what_is_not_run_is_printed_and_little():
    assert len(PRINTED) > 100
    for start in NOT_RUN:
        assert any(re.match(start, line) for line in PRINTED), start
    words = {line.split()[1] for line in UNDERSTOOD if reason_not_to_run(line)}
    assert words == {"convert", "segment"}


@pytest.mark.parametrize("line", UNDERSTOOD)
def test_a_printed_command_is_understood(line, monkeypatch, capsys):
    words = shlex.split(line)[1:]
    assert is_understood(words, monkeypatch), capsys.readouterr().err


@pytest.fixture
def directory(tmp_path, monkeypatch):
    prepare_directory(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line: str, capsys) -> str:
    """Run a command and return what it printed; AssertionError for one that fails."""
    if line.startswith("vltp ") and not re.match(NEEDS_ROS, line):  # which has processes write
        command, *files = line.split(" > ")
        try:
            status = main(shlex.split(command)[1:])
        except SystemExit as stopped:  # --help
            status = stopped.code
        out, err = capsys.readouterr()
        for file in files:
            Path(file).write_text(out)
    elif line.startswith("vltp_node --ros-args"):
        status, out, err = run_until_ready(line)
    else:
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=200)
        status, out, err = done.returncode, done.stdout, done.stderr
    assert status == 0, f"{line}: {status}: {err[-2000:]}"
    if "--json" in line and " > " not in line and "ARGS" not in line:
        json.loads(out)
    assert all(Path(path).is_file() for path in re.findall(r"\S+\.png", out)), out
    return out


def run_until_ready(line: str) -> tuple[int, str, str]:
    """Start a node, stop it once it works; return its exit status and what it said."""
    with own_network():
        node = subprocess.Popen(["bash", "-c", f"exec {line}"], stderr=subprocess.PIPE, text=True)
        watchdog = threading.Timer(250, node.kill)
        watchdog.start()
        said = []
        for message in node.stderr:
            said.append(message)
            if "ready after" in message:
                node.send_signal(signal.SIGINT)
        watchdog.cancel()
        return node.wait(), "", "".join(said)


@pytest.mark.slow
@pytest.mark.documented
@pytest.mark.parametrize(
    ("document", "needs_ros"),
    [
        pytest.param(
            *key, marks=[pytest.mark.requires_ros] if key[1] else [], id=key[0] + " ros" * key[1]
        )
        for key in RUN
    ],
)
def test_the_commands_of_a_document_do_their_work(document, needs_ros, directory, capsys):
    failed = []
    for line in RUN[document, needs_ros]:
        provide(line)
        try:
            run(line, capsys)
        except AssertionError as error:
            failed.append(str(error))
    assert not failed, "\n".join(failed)


@pytest.mark.slow
@pytest.mark.documented
@pytest.mark.parametrize("document", [d for d in DOCUMENTS if snippets(d)], ids=lambda d: d.name)
def test_the_code_of_a_document_runs(document, directory):
    for code in snippets(document):
        exec(code, {"image": np.asarray(Image.open(PICTURE))})


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

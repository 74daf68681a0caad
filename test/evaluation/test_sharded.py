"""Evaluations in shards: the same table whoever measures what, and whenever it is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from builders import room_for, tiny_model

from vltp_ros.cli.evaluate import describe
from vltp_ros.cli.main import main
from vltp_ros.data.registry import load_dataset
from vltp_ros.evaluation.expressions import Evaluation
from vltp_ros.evaluation.sharded import Shard, ShardedRun, parse_shard
from vltp_ros.evaluation.tabletop import Setting
from vltp_ros.runtime.session import Session

masks = pytest.importorskip(
    "pycocotools.mask", reason="pycocotools is missing: pip install '.[data]'"
)

ALL = Shard(1, 1)
OPTIONS = {"--rate": 0.5}


@pytest.fixture(scope="module")
def evaluation(root):
    session = Session(tiny_model(), torch.device("cpu"))
    settings = [Setting("keep_all"), Setting("random", 0.5)]
    dataset = load_dataset("coco-tasks-test", root)
    return Evaluation(session, dataset, settings, count=7, predictions=True)


def run_of(directory, evaluation, shards: int = 1, options=OPTIONS) -> ShardedRun:
    images = [entry.image_id for entry in evaluation.expressions]
    return ShardedRun(directory, options, images, len(evaluation.settings), shards)


def measure(evaluation):
    return lambda numbers: evaluation.measure(numbers, progress=False)


def table(summary: dict) -> dict:
    """What came of an evaluation, but for times; pixels may differ with the number of threads."""
    rows = [{**row, "median_ms": 0, "tasks": 0} for row in summary["rows"]]
    tasks = [task for row in summary["rows"] for task in row["tasks"]]
    flat = {f"{i} {k}": v for i, row in enumerate([*rows, *tasks]) for k, v in row.items()}
    numbers = {key: value for key, value in flat.items() if isinstance(value, float)}
    return {
        **{key: value for key, value in flat.items() if key not in numbers},
        **{key: pytest.approx(value, abs=1e-3) for key, value in numbers.items()},
        "skipped": summary["skipped"],
    }


def test_two_processes_of_a_launcher_print_the_table_of_one(model, root, tmp_path, capsys):
    arguments = ["evaluate", "--dataset", "rio-common", "--data", str(root), "--model", model]
    arguments += ["--device", "cpu", "--selector", "keep_all", "random", "--json", "--skip-bad"]
    assert main(arguments) == 0
    alone = json.loads(capsys.readouterr().out)
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
    command = [sys.executable, "-m", *launcher, "vltp_ros.cli.main", *arguments]
    run = tmp_path / "run"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--run", str(run)],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)  # one object: the second process prints nothing
    assert table(answer) == table(alone)
    assert (answer["processes"], alone["processes"]) == (2, 1)
    assert answer["data"] == alone["data"] and len(answer["data"]["images_sha256"]) == 64
    assert sorted(path.name for path in run.iterdir()) == [
        "shard-1-of-2.jsonl",
        "shard-2-of-2.jsonl",
    ]


def test_shards_by_hand_make_one_table(model, root, tmp_path, capsys):
    arguments = ["evaluate", "--dataset", "rio-common", "--data", str(root), "--model", model]
    arguments += ["--selector", "keep_all", "--json"]
    sharded = [*arguments, "--run", str(tmp_path / "run"), "--shard"]
    assert main([*sharded, "2/2"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["rows"] == [] and first["missing"] == [{"shard": "1/2", "done": 0, "count": 1}]
    assert describe(first) == "shards that are not complete, with expressions done: 1/2 (0 of 1)"
    assert main([*sharded, "1/2"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert main(arguments) == 0
    assert table(second) == table(json.loads(capsys.readouterr().out))
    assert main([*sharded, "2/2"]) == 0  # nothing is left to measure
    assert json.loads(capsys.readouterr().out)["rows"] == second["rows"]
    assert main([*sharded, "1/3"]) == 2
    assert "shard-1-of-2.jsonl is of another number of shards than 3" in capsys.readouterr().err


def test_a_run_goes_on_with_what_it_was_begun_with_alone(model, root, tmp_path, capsys):
    arguments = ["evaluate", "--dataset", "rio-common", "--data", str(root), "--model", model]
    arguments += ["--run", str(tmp_path), "--selector", "random", "--rate"]
    assert main([*arguments, "0.5"]) == 0
    capsys.readouterr()
    assert main([*arguments, "0.7"]) == 2
    place = f"{tmp_path}/shard-1-of-1.jsonl (line 1)"
    expected = f"--rate is 0.7; {place} was begun with 0.5; give the same, or another --run"
    assert expected in capsys.readouterr().err
    assert main([*arguments, "0.5", "--prune-after", "2"]) == 2
    assert "--prune-after is 2; " in capsys.readouterr().err
    assert main([*arguments, "0.5", "--count", "1"]) == 2
    assert "--count is 1; " in capsys.readouterr().err


def test_a_killed_shard_goes_on(evaluation, tmp_path):
    whole = run_of(tmp_path / "whole", evaluation)
    whole.fill(ALL, "a machine", measure(evaluation))
    expected = evaluation.summarise(whole.collect().measured)
    killed, asked = run_of(tmp_path / "killed", evaluation), []

    def break_off(numbers):
        for measured in evaluation.measure(numbers, progress=False):
            if measured.number == 4:
                raise KeyboardInterrupt
            yield measured

    def note(numbers):
        asked.extend(numbers)
        return evaluation.measure(numbers, progress=False)

    with pytest.raises(KeyboardInterrupt):
        killed.fill(ALL, "a machine", break_off)
    path = tmp_path / "killed" / "shard-1-of-1.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    assert killed.collect().missing == [{"shard": "1/1", "done": 3, "count": 7}]
    killed.fill(ALL, "another machine", note)
    assert asked == [3, 4, 5, 6]
    collected = killed.collect()
    assert collected.hardware == ["a machine", "another machine"] and not collected.missing
    assert table(evaluation.summarise(collected.measured)) == table(expected)


def test_a_shard_that_was_cut_or_changed_is_refused_by_name(evaluation, tmp_path):
    run, path = run_of(tmp_path, evaluation, shards=2), tmp_path / "shard-2-of-2.jsonl"
    shard = Shard(2, 2)
    run.fill(shard, "a machine", measure(evaluation))
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    refusals = {
        b"".join([lines[0], lines[1][:40], b"\n", *lines[2:]]): r"\(line 2\) is damaged",
        b"".join([lines[0], *lines[2:]]): r"\(line 2\) .* expression 3; expression 1 is expected",
        b"".join([*lines, lines[3]]): r"\(line 5\) .* no expression is expected",
        b"".join(lines[1:]): r"\(line 1\) .* does not say what the shard was begun with",
        lines[0] + lines[1].replace(b'"image_id": "', b'"image_id": "9'): "about image 9",
        lines[0] + lines[1].replace(b'"answers": [', b'"answers": [], "x": ['): "0 answers",
    }
    for content, reason in refusals.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{path} .*{reason}"):
            run.collect()
        with pytest.raises(ValueError, match=f"{path} .*{reason}"):
            run.fill(shard, "a machine", measure(evaluation))
        assert path.read_bytes() == content
    path.with_name("shard-1-of-2.jsonl").write_bytes(b"".join(lines))  # under another name
    with pytest.raises(ValueError, match=r"--shard is 1/2; .* was begun with 2/2"):
        run.collect()


def test_a_full_disk_is_said_and_costs_one_line(evaluation, tmp_path):
    run, path = run_of(tmp_path, evaluation), tmp_path / "shard-1-of-1.jsonl"
    run.fill(ALL, "a machine", measure(evaluation))
    size = path.stat().st_size
    path.unlink()
    with pytest.raises(OSError, match=r"shard-1-of-1\.jsonl") as raised, room_for(size // 2):
        run.fill(ALL, "a machine", measure(evaluation))
    assert raised.value.filename == str(path) and path.stat().st_size == size // 2
    done = run.collect().missing[0]["done"]
    assert 0 < done < 7
    run.fill(ALL, "a machine", measure(evaluation))
    assert [one.number for one in run.collect().measured] == list(range(7))


def test_a_shard_has_one_process(evaluation, tmp_path):
    run = run_of(tmp_path, evaluation)

    def again(numbers):
        run_of(tmp_path, evaluation).fill(ALL, "a machine", measure(evaluation))
        yield from ()

    with pytest.raises(ValueError, match=r"shard-1-of-1\.jsonl is written by another process"):
        run.fill(ALL, "a machine", again)


def test_predictions_are_the_masks(evaluation, tmp_path):
    run_of(tmp_path, evaluation).fill(ALL, "a machine", measure(evaluation))
    lines = (tmp_path / "shard-1-of-1.jsonl").read_text().splitlines()[1:]
    for line, entry in zip(lines, evaluation.expressions, strict=True):
        stored = json.loads(line)["answers"][0]
        sample = entry.sample()
        decoded = masks.decode(stored["mask"]).astype(bool)
        assert decoded.shape == sample.mask.shape
        assert np.count_nonzero(decoded & sample.mask) == stored["intersection"]
        assert np.count_nonzero(decoded | sample.mask) == stored["union"]


def test_expressions_are_dealt_out_in_turn():
    assert [list(Shard(number, 3).numbers(7)) for number in (1, 2, 3)] == [
        [0, 3, 6],
        [1, 4],
        [2, 5],
    ]
    assert parse_shard("2/8") == Shard(2, 8)
    for text in ("0/2", "3/2", "2", "1/0", "a/b"):
        with pytest.raises(ValueError, match="it must be a number and how many there are"):
            parse_shard(text)


@pytest.mark.parametrize(
    ("options", "environment", "reason"),
    [
        (["--run", "x"], {}, "--run is x; it has no effect without --dataset"),
        (["--shard", "1/2"], {}, "--shard is given; it has no effect without --run"),
        (["--predictions"], {}, "--predictions is given; it has no effect without --run"),
        (
            [],
            {"WORLD_SIZE": "2", "RANK": "0"},
            "a launcher started 2 processes, which need --dataset and --run",
        ),
    ],
)
def test_refused_options(options, environment, reason, monkeypatch, capsys):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["evaluate", *options]) == 2
    assert reason in capsys.readouterr().err

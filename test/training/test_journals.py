"""What a training writes down, as lines, table and for TensorBoard; kills leave no trace."""

from __future__ import annotations

import csv
import json

import pytest

from vltp_ros.cli.main import main
from vltp_ros.processes import ALONE, Process
from vltp_ros.training import journals
from vltp_ros.training.journals import open_journals

MEASURED = [{"loss": 2.0}, {"loss": 1.5, "val_loss": 1.25}, {"loss": 1.0, "val_giou": 0.5}]


def write(run, steps, start=0, logs=("csv",)):
    with open_journals(run, start, ALONE, logs) as opened:
        for step in steps:
            opened.write(step, MEASURED[step])


def test_a_table_has_all_columns_whenever_they_came(tmp_path):
    write(tmp_path, range(3))
    with (tmp_path / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "loss", "val_loss", "val_giou"]
    assert [row["step"] for row in rows] == ["0", "1", "2"]
    assert [row["val_loss"] for row in rows] == ["", "1.25", ""] and rows[2]["val_giou"] == "0.5"


def test_steps_that_run_again_are_written_once_also_after_a_kill(tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    for run in (straight, killed):
        run.mkdir()
    write(straight, range(3))
    write(killed, range(3), logs=())  # asked for later only
    (killed / "losses.csv").write_text("step,loss\n0,2.0\n1,1.5\n2,")  # cut in a line
    with (killed / "losses.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    write(killed, [1, 2], start=1)
    for name in ("losses.jsonl", "losses.csv"):
        assert (killed / name).read_text() == (straight / name).read_text()


def test_only_the_first_process_writes(tmp_path):
    with open_journals(tmp_path, 0, Process(1, 2), ("csv",)) as opened:
        opened.write(0, MEASURED[0])
        opened.flush()
    assert not list(tmp_path.iterdir())


def test_tensorboard_reads_each_step_once(tmp_path):
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard is missing: pip install '.[tensorboard]'",
    )
    write(tmp_path, range(3), logs=("tensorboard",))
    write(tmp_path, [1, 2], start=1, logs=("tensorboard",))
    read = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in read.Scalars("loss")] == [(0, 2.0), (1, 1.5), (2, 1.0)]
    assert [(e.step, e.value) for e in read.Scalars("val_giou")] == [(2, 0.5)]


def test_a_training_writes_the_logs_that_it_is_asked_for(data, model, tmp_path, capsys):
    run = tmp_path / "run"
    arguments = ["train", "--stage", "prune", "--data", str(data.directory), "--init", model]
    arguments += ["--steps", "2", "--batch", "1", "--tasks-per-image", "1", "--run", str(run)]
    assert main([*arguments, "--out", str(tmp_path / "out"), "--log", "csv"]) == 0
    lines = [json.loads(line) for line in (run / "losses.jsonl").read_text().splitlines()]
    with (run / "losses.csv").open() as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert rows == lines and len(rows) == 2
    assert main([*arguments, "--out", str(tmp_path / "o"), "--log", "wandb"]) == 2
    assert "--log is 'wandb'; allowed: csv, tensorboard" in capsys.readouterr().err


def test_a_missing_tensorboard_is_said_before_anything_is_written(
    data, model, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(journals, "find_spec", lambda name: None)
    arguments = ["train", "--stage", "prune", "--data", str(data.directory), "--init", model]
    arguments += ["--run", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--log", "tensorboard"]) == 2
    said = capsys.readouterr().err
    assert "--log has tensorboard, which is not installed: pip install '" in said
    assert not (tmp_path / "run").exists()

"""`vltp benchmark node`: what it makes of the node's messages, and that it runs for real."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from builders import tiny_model
from std_msgs.msg import Header

from vltp_ros.checkpoints.model_directory import save_model
from vltp_ros.cli.benchmark import describe
from vltp_ros.cli.main import main
from vltp_ros.imaging.images import ENCODINGS
from vltp_ros.msg import InferenceTiming, StageTiming
from vltp_ros.rig.measurement import Measurement
from vltp_ros.rig.node_benchmark import summary


def timing(number: int, queue: float) -> InferenceTiming:
    stages = {"queue": queue, "convert": 1.0, "encode": 40.0, "publish": 2.0}
    return InferenceTiming(
        header=Header(frame_id=str(3 * number)),
        model="tiny",
        stages=[StageTiming(name=name, milliseconds=value) for name, value in stages.items()],
        total_ms=sum(stages.values()) + 0.5,
        latency_ms=50.0,
        received=2 * number,
        dropped=number,
    )


def test_what_the_messages_say_together():
    measurement = Measurement(
        [timing(number, queue=7.0) for number in range(11)], masks=20, seconds=2.0
    )
    row = summary(measurement, cpu_seconds=0.5)
    assert row["overhead_ms"]["p50"] == pytest.approx(3.5)
    assert row["inference_ms"] == {"p50": 40.0, "p99": 40.0}
    assert (row["queue_ms"]["p50"], row["latency_ms"]["p99"]) == (7.0, 50.0)
    assert (row["dropped"], row["lost"], row["masks_per_second"]) == (10, 10, 10.0)
    assert row["cpu"] == 0.25 and row["cpu_ms_per_mask"] == pytest.approx(500 / 11)
    with pytest.raises(ValueError, match="1 answers within 2 s"):
        summary(Measurement([timing(0, 0.0)], masks=1, seconds=2.0), 0.0)


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [("--resolution", "720p", "'720p'; allowed: WIDTHxHEIGHT"), ("--seconds", "0", "at least 1")],
)
def test_refused_options(option, value, reason, capsys):
    assert main(["benchmark", "node", option, value]) == 2
    assert reason in capsys.readouterr().err


def test_images_are_measured(capsys):
    options = ["images", "--resolution", "64x48", "--repeats", "3"]
    assert main(["benchmark", *options, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["width"], answer["height"]) == (64, 48)
    rows = {row["name"]: row for row in answer["rows"]}
    assert rows.keys() == ENCODINGS.keys()
    assert rows["rgb8"]["by"] == "ours"
    for row in rows.values():
        assert row["median_ms"] >= 0
        assert "baseline_ms" in row or row["by"] == "ours"
    assert "bayer_rggb8" in describe(answer)


@pytest.mark.parametrize("size", ["63x48", "64x0"])
def test_images_of_a_size_that_yuv_cannot_have(size, capsys):
    assert main(["benchmark", "images", "--resolution", size]) == 2
    assert f"the size is {size}" in capsys.readouterr().err


@pytest.mark.slow
def test_the_node_is_measured(tmp_path):
    save_model(tiny_model(), tmp_path, {"licence": "Apache-2.0", "sources": []})
    command = [sys.executable, "-m", "vltp_ros.cli.main", "benchmark", "node", "--json"]
    options = f"--rate 5 --resolution 160x120 --seconds 2 --device cpu --model {tmp_path}"
    done = subprocess.run([*command, *options.split()], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    ways = [(row["model"], row["model_process"]) for row in rows]
    assert ways == [("tiny", True), ("none", True), ("none", False)]
    assert all(row["masks_per_second"] > 0 and row["overhead_ms"]["p50"] > 0 for row in rows)
    assert rows[0]["inference_ms"]["p50"] > 0 == rows[1]["inference_ms"]["p50"]


@pytest.mark.slow
def test_all_outputs_are_measured_with_depth(tmp_path):
    save_model(tiny_model(), tmp_path, {"licence": "Apache-2.0", "sources": []})
    command = [sys.executable, "-m", "vltp_ros.cli.main", "benchmark", "node", "--json"]
    options = f"--rate 5 --resolution 160x120 --seconds 2 --device cpu --model {tmp_path}"
    options += " --no-baseline --outputs instances all"
    done = subprocess.run([*command, *options.split()], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["outputs"] for row in rows] == ["instances", "all"]
    assert all(row["masks_per_second"] > 0 for row in rows)
    assert "no depth" not in done.stderr

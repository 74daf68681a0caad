"""What the benchmark reports; how fast anything is, it alone says."""

from __future__ import annotations

import json

import pytest
import torch

from vltp_ros.cli.main import main
from vltp_ros.config import model_config
from vltp_ros.evaluation.benchmark import benchmark_encoder
from vltp_ros.evaluation.flops import model_gmacs


def test_rows_compare_with_the_official_encoder_of_the_same_run(capsys):
    command = "benchmark encoder --sam tabletop --device cpu --rates 0 0.8 --repeats 3 --baseline"
    assert main([*command.split(), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["hardware"] and answer["versions"]["torch"] == torch.__version__
    assert [row["rate"] for row in answer["rows"]] == [0.0, 0.8]
    for row in answer["rows"]:
        low, high = row["quartiles_ms"]
        assert 0 < low <= row["median_ms"] <= high
        assert row["ratio"] == pytest.approx(row["baseline_ms"] / row["median_ms"], rel=0.01)
        assert row["device"] == "cpu" and row["dtype"] == "float32"
    dense, pruned = (row["gmacs"] for row in answer["rows"])
    counted = model_gmacs(model_config("tabletop"), (4, 6), (0.8, 0.8))
    assert dense == pytest.approx(counted["dense_gmacs"], abs=0.1)
    assert pruned == pytest.approx(counted["gmacs"], abs=0.1)


def test_without_a_baseline_there_is_no_ratio():
    answer = benchmark_encoder(
        "tabletop", torch.device("cpu"), torch.bfloat16, (0.5,), baseline=False, repeats=3,
        progress=False,
    )  # fmt: skip
    (row,) = answer["rows"]
    assert row["dtype"] == "bfloat16" and "ratio" not in row


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sam": "vit_x"}, "sam is 'vit_x'; allowed"),
        ({"repeats": 2}, "repeats is 2"),
        ({"rates": (1.0,)}, "rate is 1.0"),
    ],
)
def test_bad_requests_are_refused(changes, reason):
    request = {"sam": "tabletop", "rates": (0.5,), "repeats": 3, **changes}
    sam, rates = request.pop("sam"), request.pop("rates")
    with pytest.raises(ValueError, match=reason):
        benchmark_encoder(sam, torch.device("cpu"), torch.float32, rates, **request)

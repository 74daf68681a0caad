"""Metrics against hand counts, costs against closed forms, the table on real scenes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders import tiny_model

from vltp_ros.evaluation.flops import model_gmacs
from vltp_ros.evaluation.metrics import MaskMetrics
from vltp_ros.evaluation.tabletop import Setting, evaluate, rendered_samples
from vltp_ros.network.config import model_config
from vltp_ros.runtime.session import Session


def test_giou_is_a_mean_and_ciou_a_ratio_of_sums():
    metrics = MaskMetrics()
    full, half, empty = np.ones((2, 4), bool), np.ones((2, 4), bool), np.zeros((2, 4), bool)
    half[:, 2:] = False
    metrics.add(half, full)  # 4 / 8
    metrics.add(full, full)  # 8 / 8
    metrics.add(empty, empty)  # empty union counts 1
    metrics.add(half, empty)  # 0 / 4
    assert metrics.giou == pytest.approx((0.5 + 1 + 1 + 0) / 4)
    assert metrics.ciou == pytest.approx(12 / 20)
    with pytest.raises(ValueError, match="differ in shape"):
        metrics.add(full, np.ones((4, 2), bool))


@pytest.mark.parametrize(
    ("size", "official"), [("vit_b", 486.0), ("vit_l", 1492.8), ("vit_h", 2980.5)]
)
def test_dense_costs_are_the_official_ones_less_the_pads(size, official):
    """``official``: PyTorch's count of segment_anything's encoder, which projects the pads too."""
    config = model_config(size).encoder
    cost = model_gmacs(model_config(size), (), ())
    window_blocks = config.depth - len(config.global_attn_indexes)
    pads = 25 * 14**2 - 64**2
    projected = window_blocks * pads * 4 * config.embed_dim**2 / 1e9  # qkv and proj
    assert cost["gmacs"] == cost["dense_gmacs"] == pytest.approx(official - projected, abs=0.1)
    assert cost["prune_decoder_gmacs"] < 6


def test_the_standard_error_of_the_mean():
    metrics = MaskMetrics()
    whole, half = np.ones((2, 2), bool), np.array([[True, True], [False, False]])
    metrics.add(whole, whole)
    assert metrics.giou_error is None
    for predicted in (half, half, whole):
        metrics.add(predicted, whole)
    # IoUs of 1, .5, .5 and 1: a standard deviation of sqrt(4 x .25^2 / 3), over the root of 4.
    assert metrics.giou_error == pytest.approx(0.144, abs=0.001)


def test_pruned_cost_falls_with_the_rate_and_adds_up():
    for rate, share in ((0.5, 0.75), (0.8, 0.60)):  # of the dense cost: half the depth is pruned
        cost = model_gmacs(model_config("vit_h"), (16, 24), (rate, rate))
        stages = sum(stage["gmacs"] for stage in cost["stages"])
        assert cost["gmacs"] == pytest.approx(stages + 2 * cost["prune_decoder_gmacs"])
        assert [s["first_layer"] for s in cost["stages"]] == [1, 17, 25]
        assert stages / cost["dense_gmacs"] == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(
    ("stages", "rates", "reason"),
    [
        ((16,), (1.0,), "rate is 1.0"),
        ((16, 24), (0.5,), "one is needed for each"),
        ((15,), (0.5,), r"prune_after is \(15,\)"),
        ((24, 16), (0.5, 0.5), "ascending"),
    ],
)
def test_bad_stages_are_refused(stages, rates, reason):
    with pytest.raises(ValueError, match=reason):
        model_gmacs(model_config("vit_h"), stages, rates)


def test_rows_come_from_the_same_samples_and_oracle_beats_nothing_lost():
    session = Session(tiny_model(), torch.device("cpu"))
    settings = [
        Setting("keep_all", 0.0),
        Setting("prune_decoder", 0.5),
        Setting("random", 0.5),
        Setting("oracle", 0.5),
    ]
    rows = evaluate(session, "test", 2, settings, progress=False)
    assert [(r["selector"], r["rate"], r["count"]) for r in rows] == [
        ("keep_all", 0.0, 2),
        ("prune_decoder", 0.5, 2),
        ("random", 0.5, 2),
        ("oracle", 0.5, 2),
    ]
    assert all(0 <= r["giou"] <= 1 and 0 <= r["ciou"] <= 1 for r in rows)
    dense, pruned, random, oracle = (r["gmacs"] for r in rows)
    assert random == oracle < min(dense, pruned)
    again = evaluate(session, "test", 2, settings, progress=False)
    for key in ("giou", "ciou", "gmacs"):
        assert [r[key] for r in again] == pytest.approx([r[key] for r in rows], abs=1e-3)


def test_bad_requests_are_refused():
    session = Session(tiny_model(), torch.device("cpu"))
    with pytest.raises(ValueError, match="selector is 'magic'"):
        evaluate(session, "test", 1, [Setting("magic", 0.5)], progress=False)
    with pytest.raises(ValueError, match="count is 0"):
        evaluate(session, "test", 0, progress=False)
    with pytest.raises(ValueError, match="nowhere"):
        list(rendered_samples("nowhere", 1))

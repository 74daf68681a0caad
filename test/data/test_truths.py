"""Polygons and run lengths: drawn, and refused where they are none."""

from __future__ import annotations

import numpy as np
import pytest

from vltp_ros.data.truths import Instances, Outlines

SIZE = HEIGHT, WIDTH = 48, 64
SQUARE = [[4, 4, 14, 4, 14, 14, 4, 14]]


def test_a_smaller_target_lies_on_a_larger_ignored_region():
    large, small = [[0, 0], [20, 0], [20, 20], [0, 20]], [[5, 5], [9, 5], [9, 9], [5, 9]]
    mask, ignored = Outlines([small], [large]).draw((30, 30))
    assert mask.sum() == 25 and ignored.sum() == 21 * 21 - 25


def test_instances_are_joined_where_they_overlap():
    pytest.importorskip("pycocotools", reason="pycocotools is missing: pip install '.[data]'")
    other = [[9, 4, 19, 4, 19, 14, 9, 14], [30, 30, 32, 30, 32, 32, 30, 32]]
    pairs = [np.reshape(SQUARE[0], (-1, 2)).tolist()]
    mask, ignored = Instances([SQUARE, other, SQUARE[0], pairs]).draw(SIZE)
    assert mask.shape == SIZE and mask.sum() == 15 * 10 + 4 and ignored is None
    assert not Instances([]).draw(SIZE)[0].any()


def test_run_lengths_are_instances_too():
    pytest.importorskip("pycocotools", reason="pycocotools is missing: pip install '.[data]'")
    counts = [2 * HEIGHT, HEIGHT, (WIDTH - 3) * HEIGHT]  # column by column
    run_lengths = {"size": [HEIGHT, WIDTH], "counts": counts}
    truth = Instances([run_lengths, SQUARE])
    truth.check(SIZE)
    mask, _ = truth.draw(SIZE)
    assert mask[:, 2].all() and mask.sum() == HEIGHT + 100
    with pytest.raises(ValueError, match="do not add up"):
        Instances([{**run_lengths, "counts": counts[:2]}]).check(SIZE)
    with pytest.raises(ValueError, match="counts of run lengths are no list"):
        Instances([{**run_lengths, "counts": "P2"}]).check(SIZE)
    with pytest.raises(ValueError, match=r"size \[1, 2\]"):
        Instances([{**run_lengths, "size": [1, 2]}]).check(SIZE)

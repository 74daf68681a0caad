"""What data sets are measured by before anything is trained on them."""

import numpy as np
import pytest

from vltp_ros.evaluation.admission import Asked, admission, best_rule, ious
from vltp_ros.evaluation.gates import Gate, to_square, uniform_share


def asked(kinds, serving, task="a", family="A") -> Asked:
    return Asked(task, family, np.array(kinds, float), np.array(serving, float))


def test_a_rule_is_compared_with_answers_by_pixels():
    queries = [asked([10, 30, 0], [10, 0, 0]), asked([0, 0, 5], [0, 0, 0])]
    both = np.array([True, True, False])
    np.testing.assert_allclose(ious(both, queries), [0.25, 1.0])
    np.testing.assert_allclose(ious(~both, queries), [0.0, 0.0])


def test_the_best_rule_may_name_several_kinds_or_none():
    apart = [asked([10, 0, 9], [10, 0, 0]), asked([0, 10, 9], [0, 10, 0])]
    assert best_rule(apart).tolist() == [True, True, False]
    nothing = [asked([10, 10, 9], [0, 0, 0])] * 3 + apart
    assert best_rule(nothing).tolist() == [False, False, False]


def test_unserved_queries_count_with_their_task():
    served, unserved = asked([10, 0], [10, 0]), asked([10, 0], [0, 0])
    other = asked([0, 10], [0, 10], task="b", family="B")
    rows = admission([served] * 3 + [unserved, other], [served] * 3 + [unserved, other])
    figures = {row.family: (row.giou, row.queries) for row in rows}
    assert figures == {"A": (0.75, 4), "B": (1.0, 1), "E": (0.75, 4)}


def test_a_task_that_was_not_seen_before_is_answered_by_nothing():
    rows = admission([asked([10], [10])], [asked([10], [10], task="new")])
    assert rows[0].giou == 0


def test_uniform_patches_show_one_kind_and_lie_within_the_image():
    kinds, size = to_square(np.ones((480, 640), np.uint8))
    assert size == (384, 512)
    assert not kinds[384:].any()
    assert uniform_share(kinds, size) == 1
    kinds[5, 5] = 2
    assert uniform_share(kinds, size) == pytest.approx(1 - 1 / (12 * 16))


def test_a_gate_holds_within_its_limits():
    assert Gate("share", "val", 0.2, 0.1, 0.2).passed
    assert not Gate("share", "val", 0.21, 0.1, 0.2).passed

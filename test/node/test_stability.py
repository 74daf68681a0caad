"""When answers agree on a thing."""

from __future__ import annotations

import numpy as np
import pytest

from vltp_ros.imaging.instances import Instance
from vltp_ros.node.stability import InstanceStability


def thing(columns: int, score: float = 0.9, track: int = 1) -> Instance:
    mask = np.ones((4, columns), bool)
    return Instance(mask, (0, 0, columns, 4), (0.0, 0.0), mask.size, score, (), 0, track)


def counts(*answers: tuple[Instance, ...]) -> list[int]:
    agreement = InstanceStability(min_score=0.5, min_iou=0.7)
    counted = []
    for answer in answers:
        agreement.add(answer)
        counted.append(agreement.best[2])
    return counted


@pytest.mark.parametrize(
    ("answers", "counted"),
    [
        (((thing(8),), (thing(8),), (thing(9),)), [1, 2, 3]),
        (((thing(8),), (thing(4),), (thing(4),)), [1, 1, 2]),
        (((thing(8),), (thing(8, score=0.4),), (thing(8),)), [1, 0, 1]),
        (((thing(8),), (), (thing(8),)), [1, 0, 1]),
        (((), ()), [0, 0]),
        (((thing(8),), (thing(8, track=2),)), [1, 1]),  # another thing at the same place
    ],
)
def test_answers_in_a_row_that_agree(answers, counted):
    assert counts(*answers) == counted


def test_the_thing_that_stays_is_told_from_one_that_comes_and_goes():
    agreement = InstanceStability(min_score=0.5, min_iou=0.7)
    stays, flickers = thing(8, score=0.6, track=1), thing(6, score=0.9, track=2)
    for answer in ((flickers, stays), (stays,), (flickers, stays)):
        agreement.add(answer)
    instance, iou, count = agreement.best
    assert (instance.track, iou, count) == (1, 1.0, 3)


def test_of_things_seen_as_often_the_likeliest_is_best():
    agreement = InstanceStability(min_score=0.5, min_iou=0.7)
    for _ in range(2):
        agreement.add((thing(6, score=0.6, track=1), thing(6, score=0.9, track=2)))
    assert agreement.best[0].track == 2

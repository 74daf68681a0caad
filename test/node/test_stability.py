"""When answers agree."""

from __future__ import annotations

import numpy as np
import pytest

from vltp_ros.node.stability import MaskStability, iou
from vltp_ros.types import Segmentation


def answer(columns: int, score: float = 0.9) -> Segmentation:
    mask = np.zeros((4, 10), bool)
    mask[:, :columns] = True
    return Segmentation.certain("cut", mask, score)


def frames(*answers: Segmentation) -> list[int]:
    agreement = MaskStability(min_score=0.5, min_iou=0.7)
    counted = []
    for answer in answers:
        agreement.add(answer)
        counted.append(agreement.frames)
    return counted


@pytest.mark.parametrize(
    ("answers", "counted"),
    [
        ((answer(8), answer(8), answer(9)), [1, 2, 3]),
        ((answer(8), answer(4), answer(4)), [1, 1, 2]),
        ((answer(8), answer(8, score=0.4), answer(8)), [1, 0, 1]),
        ((answer(0), answer(0)), [0, 0]),
    ],
)
def test_masks_in_a_row_that_agree(answers, counted):
    assert frames(*answers) == counted


def test_iou():
    one, other = answer(8).mask, answer(4).mask
    assert iou(one, other) == 0.5
    assert iou(one, one) == 1
    assert iou(~one & one, ~one & one) == 0
    assert iou(one, np.ones((2, 2), bool)) == 0

"""The fields of messages, whichever library sends them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vltp_ros.imaging.images import to_grey
from vltp_ros.imaging.messages import affordance_fields, box_fields, image_fields
from vltp_ros.types import Segmentation


def segmentation(mask: np.ndarray) -> Segmentation:
    kept = (np.eye(3, dtype=bool), np.ones((3, 3), bool))
    return Segmentation.certain("cut", mask, 0.75, kept=kept, tokens=(4, 10))


@pytest.mark.parametrize(
    ("pixels", "encoding", "step"),
    [
        (np.zeros((6, 8, 3), np.uint8), "rgb8", 24),
        (to_grey(np.zeros((6, 8), bool)), "mono8", 8),
        (np.zeros((6, 8), np.float32), "32FC1", 32),
    ],
)
def test_an_image_describes_its_pixels(pixels, encoding, step):
    fields = image_fields(pixels)
    assert (fields["height"], fields["width"]) == (6, 8)
    assert (fields["encoding"], fields["step"]) == (encoding, step)


def test_an_affordance_describes_its_mask():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    fields = affordance_fields(segmentation(mask), "cut it", 3, "tabletop")
    assert fields["kept_tokens"] == [3, 9] and fields["total_tokens"] == 9
    assert (fields["centroid_x"], fields["centroid_y"], fields["area"]) == (4, 2, 15)
    assert (fields["task"], fields["id"], fields["model"]) == ("cut it", 3, "tabletop")
    box = box_fields(segmentation(mask).box)
    assert (box["x_offset"], box["y_offset"], box["width"], box["height"]) == (2, 1, 5, 3)


def test_an_empty_mask_has_no_centroid():
    result = segmentation(np.zeros((6, 8), bool))
    fields = affordance_fields(result, "cut", 0, "tabletop")
    assert (
        math.isnan(fields["centroid_x"]) and fields["area"] == box_fields(result.box)["width"] == 0
    )

"""The two-way transformer with few tokens against segment_anything's own."""

from __future__ import annotations

import pytest
import torch
from builders import relative_error
from segment_anything.modeling import TwoWayTransformer

from vltp_ros.network.two_way import run_two_way


@pytest.mark.parametrize(("depth", "width", "heads", "points"), [(2, 256, 8, 6), (1, 64, 4, 2)])
@torch.inference_mode()
def test_it_is_segment_anythings(depth, width, heads, points):
    torch.manual_seed(0)
    transformer = TwoWayTransformer(depth, width, heads, mlp_dim=128)
    for parameter in transformer.parameters():  # biases and norms too
        torch.nn.init.normal_(parameter, std=0.2)
    image, position = torch.randn(2, 2, width, 9, 7)
    tokens = torch.randn(2, points, width)
    expected = transformer(image, position, tokens)
    for result, exact in zip(
        run_two_way(transformer, image, position, tokens), expected, strict=True
    ):
        assert result.shape == exact.shape
        assert relative_error(result, exact) < 1e-5

"""Winograd's convolution against PyTorch's, and where it is used."""

from __future__ import annotations

import pytest
import torch
from builders import relative_error
from torch import nn

from vltp_ros.network.convolutions import run_convolutions
from vltp_ros.network.winograd import WIDE, fits_winograd, winograd


def convolution(channels=WIDE, outputs=WIDE, **options) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(channels, outputs, 3, **{"padding": 1, "bias": False} | options)


@torch.inference_mode()
def test_it_is_a_convolution():
    layer = convolution(outputs=WIDE + 7)
    image = torch.randn(2, WIDE, 12, 8)
    assert fits_winograd(layer, image)
    expected = layer.double()(image.double())
    assert relative_error(winograd(image, layer.float().weight), expected) < 1e-5


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (convolution(), (12, 10)),
        (convolution(channels=WIDE - 1), (8, 8)),
        (convolution(bias=True), (8, 8)),
        (convolution(stride=2), (8, 8)),
        (convolution(padding=0), (8, 8)),
        (convolution(groups=2), (8, 8)),
        (convolution().bfloat16(), (8, 8)),
    ],
)
def test_other_layers_run_as_they_are(layer, size):
    assert not fits_winograd(layer, torch.zeros(1, WIDE, *size))


@torch.inference_mode()
def test_only_a_trace_has_it():
    layers = nn.Sequential(convolution()).requires_grad_(False)
    image = torch.randn(1, WIDE, 8, 8)

    def run(image):
        return run_convolutions(layers, image)

    traced = torch.jit.trace(run, image)
    assert "convolution" not in str(traced.inlined_graph)
    assert relative_error(traced(image), run(image)) < 1e-5

"""Kernels on the CPU, in Triton's interpreter; test_kernels.py runs this in a process of its own.

The interpreter is chosen where kernels are imported, and runs only where Triton was not imported
for anything else before.
"""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from builders import random_encoder, random_keep, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_comparisons import (
    assert_equal,
    compare,
    compare_block,
    forced_kernels,
    random_block,
    relative_error,
)
from torch import nn
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

from vltp_ros.kernels import nf4
from vltp_ros.kernels.attention import GLOBAL_TILINGS, WINDOW_TILINGS
from vltp_ros.network import fused
from vltp_ros.network.csp import CSP_PRESETS
from vltp_ros.network.encoder import PrunedImageEncoder

TYPES = (torch.float32, torch.float16, torch.bfloat16)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("keep", [None, 17])
@pytest.mark.parametrize("window", [0, 4])
def test_attention(window, keep, dtype):
    """Windows of 4 need pads on both sides."""
    block = random_block(32, 2, window, (7, 5), dtype)
    indices = None if keep is None else random_keep(2, 35, keep)
    compare_block(block, (7, 5), indices, batch=2)


@pytest.mark.parametrize("window", [0, 14])
@pytest.mark.parametrize("head", [8, 48, 64, 80, 128])
def test_widths_of_a_head(head, window):
    block = random_block(head, 1, window, (12, 16))
    compare_block(block, (12, 16), random_keep(1, 192, 37))


@pytest.mark.parametrize("number", range(len(GLOBAL_TILINGS)))
@pytest.mark.parametrize("head", [64, 80])
def test_a_grid_whose_rows_are_steps(head, number):
    compare_block(random_block(head, 1, 0, (9, 16)), (9, 16), number=number)


@pytest.mark.parametrize("window", [0, 14])
@pytest.mark.parametrize("number", range(len(WINDOW_TILINGS)))
def test_tilings(number, window):
    assert len(WINDOW_TILINGS) == len(GLOBAL_TILINGS)
    block = random_block(16, 1, window, (12, 16))
    compare_block(block, (12, 16), random_keep(1, 192, 150), number=number)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(window=st.sampled_from([0, 3, 4]), indices=st.sets(st.integers(0, 29), min_size=1))
def test_any_subset_of_tokens(window, indices):
    block = random_block(16, 1, window, (6, 5))
    compare_block(block, (6, 5), torch.tensor([sorted(indices)]))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("width", [33, 192, 1280])
@pytest.mark.parametrize("kind", [nn.LayerNorm, LlamaRMSNorm])
def test_norms(kind, width, dtype):
    norm = kind(width, eps=1e-5).to(dtype)
    for parameter in norm.parameters():
        parameter.data += torch.randn_like(parameter)
    states, update = torch.randn(2, 5, width).to(dtype), torch.randn(2, 5, width).to(dtype)
    compare(fused.add_and_norm, norm, 3 * states + 1)
    compare(fused.add_and_norm, norm, 3 * states + 1, update)


@pytest.mark.parametrize("dtype", TYPES)
def test_rotary_positions(dtype):
    for heads, width in ((3, 24), (2, 128)):
        states, angles = torch.randn(7, heads * width), torch.randn(7, width // 2).repeat(1, 2)
        angles = torch.cat([angles.cos(), angles.sin()], 1)
        compare(fused.rotate, states.to(dtype), angles.to(dtype))


@pytest.mark.parametrize("dtype", TYPES)
def test_gated_mlp(dtype):
    config = tiny_model().reasoner.llava.config.text_config
    mlp = LlamaMLP(config).to(dtype)
    compare(fused.run_mlp, mlp, torch.randn(7, config.hidden_size).to(dtype))


@pytest.mark.parametrize("shape", [(48, 128), (5, 64), (96, 192)])
def test_packed_weights(shape):
    bitsandbytes = pytest.importorskip(
        "bitsandbytes", reason="bitsandbytes is missing: pip install '.[quantization]'"
    )
    weights = torch.randn(2, *shape).bfloat16() * 3
    layers = [
        bitsandbytes.nn.Linear4bit(shape[1], shape[0], False, torch.bfloat16) for _ in weights
    ]
    for layer, weight in zip(layers, weights, strict=True):
        layer.weight = bitsandbytes.nn.Params4bit(weight, False, quant_type="nf4").to("cpu")
    expected = [
        bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        for layer in layers
    ]
    packed = [nf4.Packed.of(layer.weight) for layer in layers]
    for warps in nf4.WARPS:
        assert_equal(nf4.unpack(packed, warps), torch.cat(expected))
    compare(fused.project, layers, torch.randn(7, shape[1]).bfloat16())


def test_products_side_by_side():
    layers = [nn.Linear(16, width, bias=False) for width in (16, 8, 24)]
    expected, states = [layer.weight.clone() for layer in layers], torch.randn(5, 16)
    with mock.patch.object(torch.Tensor, "is_cuda", True):
        fused.lay_side_by_side(layers)
    assert all(map(torch.equal, (layer.weight for layer in layers), expected))
    compare(fused.project, layers, states)
    compare(fused.project, layers[1:], states)


@torch.inference_mode()
def test_a_whole_encoder():
    encoder = PrunedImageEncoder(random_encoder(), (2, 3))
    images = torch.randn(1, 3, 160, 160)

    def select(stage, tokens):
        return random_keep(1, 100, 20, seed=stage)

    expected = encoder(images, select).features
    names = {"window attention", "global attention"}  # the norms' would run for each token
    with forced_kernels(names=names) as kernels:
        features = encoder(images, select).features
    assert kernels.names == names
    assert relative_error(features, expected) < 1e-5


@torch.inference_mode()
def test_a_whole_prefill():
    reasoner = tiny_model().reasoner
    features = reasoner.encode_image(torch.randint(0, 255, (1, 3, 48, 64), dtype=torch.uint8))
    del reasoner.llava.model.language_model.layers[3:]
    expected = reasoner.reason(features, [["cut"]], csp=CSP_PRESETS["65"]).seg
    with forced_kernels() as kernels:
        seg = reasoner.reason(features, [["cut"]], csp=CSP_PRESETS["65"]).seg
    assert kernels.names == {"residual and norm", "rotary positions", "gate"}
    assert relative_error(seg, expected) < 1e-5

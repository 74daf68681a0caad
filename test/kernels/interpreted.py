"""Kernels on the CPU, in Triton's interpreter; test_kernels.py runs this in a process of its own.

The interpreter is chosen where kernels are imported, and runs only where Triton was not imported
for anything else before.
"""

from __future__ import annotations

import pytest
import torch
from builders import random_encoder, random_keep
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_comparisons import compare_block, forced_kernels, random_block, relative_error

from vltp_ros.kernels.attention import GLOBAL_TILINGS, WINDOW_TILINGS
from vltp_ros.network.encoder import PrunedImageEncoder

TYPES = (torch.float32, torch.float16, torch.bfloat16)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("keep", [None, 17])
@pytest.mark.parametrize("window", [0, 4])
def test_attention(window, keep, dtype):
    """6 x 6 tokens: windows of 4 need pads."""
    block = random_block(32, 2, window, 6, dtype)
    indices = None if keep is None else random_keep(2, 36, keep)
    compare_block(block, 6, indices, batch=2)


@pytest.mark.parametrize("window", [0, 14])
@pytest.mark.parametrize("head", [8, 48, 64, 80, 128])
def test_widths_of_a_head(head, window):
    compare_block(random_block(head, 1, window, 16), 16, random_keep(1, 256, 37))


def test_a_grid_whose_rows_are_steps():
    compare_block(random_block(48, 1, 0, 16), 16)


@pytest.mark.parametrize("window", [0, 14])
@pytest.mark.parametrize("number", range(len(WINDOW_TILINGS)))
def test_tilings(number, window):
    assert len(WINDOW_TILINGS) == len(GLOBAL_TILINGS)
    compare_block(random_block(16, 1, window, 16), 16, random_keep(1, 256, 150), number=number)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(window=st.sampled_from([0, 3, 4]), indices=st.sets(st.integers(0, 35), min_size=1))
def test_any_subset_of_tokens(window, indices):
    compare_block(random_block(16, 1, window, 6), 6, torch.tensor([sorted(indices)]))


@torch.inference_mode()
def test_a_whole_encoder():
    encoder = PrunedImageEncoder(random_encoder(), (2, 3))
    images = torch.randn(1, 3, 160, 160)

    def select(stage, tokens):
        return random_keep(1, 100, 50, seed=stage)

    expected = encoder(images, select).features
    with forced_kernels() as kernels:
        features = encoder(images, select).features
    assert kernels.names == {"window attention", "global attention"}
    assert relative_error(features, expected) < 1e-5

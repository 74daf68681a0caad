"""Muon against PyTorch's own, and against what it promises; how rates change."""

from __future__ import annotations

import math

import pytest
import torch

from vltp_ros.training.config import TrainConfig
from vltp_ros.training.muon import Muon, orthogonal
from vltp_ros.training.optimisers import schedule


def test_singular_values_come_near_one():
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 24, 40), (2, 40, 24)):
        matrices = torch.randn(shape, generator=generator)
        for dtype in (torch.float32, torch.bfloat16):
            values = torch.linalg.svdvals(orthogonal(matrices, dtype))
            assert values.min() > 0.3 and values.max() < 1.4


def test_steps_are_those_of_pytorch():
    # Up to bfloat16, in which PyTorch computes.
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in ((24, 40), (40, 24), (24, 40))]
    ends = []
    for optimiser in (Muon, torch.optim.Muon):
        weights = [torch.nn.Parameter(tensor.clone()) for tensor in start]
        steps = optimiser(weights, lr=0.1, weight_decay=0.05)
        for number in range(3):
            torch.manual_seed(number)
            for weight in weights:
                weight.grad = torch.randn(weight.shape)
            steps.step()
        ends.append(weights)
    for ours, theirs, before in zip(*ends, start, strict=True):
        moved = (theirs - before).norm()
        assert (ours - theirs).norm() < 0.03 * moved


def test_a_kernel_is_a_matrix_with_a_row_for_each_channel_that_comes_out():
    start = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    kernel, matrix = (torch.nn.Parameter(t.clone()) for t in (start, start.flatten(1)))
    for weight in (kernel, matrix):
        weight.grad = weight.detach().clone()
        Muon([weight], lr=0.1, weight_decay=0.05).step()
    assert torch.allclose(kernel.flatten(1), matrix, atol=1e-6)
    assert not torch.allclose(kernel, start, atol=1e-3)


def test_rates_warm_up_then_fall_along_a_cosine_or_linearly():
    def shares(name):
        settings = TrainConfig(steps=12, warmup=2, schedule=name, final_share=0.1)
        return [schedule(step, settings) for step in (0, 1, 2, 7, 11)]

    assert shares("linear") == pytest.approx([0.5, 1, 1, 0.55, 0.19])
    last = 0.1 + 0.45 * (1 - math.cos(0.1 * math.pi))
    assert shares("cosine") == pytest.approx([0.5, 1, 1, 0.55, last])

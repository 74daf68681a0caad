"""The network with kernels against the network without, on any device."""

from __future__ import annotations

from collections.abc import Container
from contextlib import contextmanager
from unittest import mock

import torch
from builders import relative_error
from segment_anything.modeling.image_encoder import Block

from vltp_ros.network import fused
from vltp_ros.network.attention import TokenPositions, run_blocks

TOLERANCE = {torch.float32: 1e-5, torch.float16: 3e-3, torch.bfloat16: 4e-2}


class Forced:
    """Takes kernels always, with the option of a number; stands for a KernelChoice."""

    def __init__(self, number: int, names: Container[str] | None) -> None:
        self.number = number
        self.wanted = names
        self.names: set[str] = set()

    def run(self, name, sizes, tensor, plain, kernel, options):
        if not options or (self.wanted is not None and name not in self.wanted):
            return plain()
        self.names.add(name)
        return kernel(options[self.number % len(options)])


@contextmanager
def forced_kernels(number: int = 0, names: Container[str] | None = None):
    """The body runs with kernels, all of them or those of some names."""
    kernels = Forced(number, names)
    with mock.patch.object(fused, "KERNELS", kernels):
        yield kernels


def assert_equal(values, expected) -> None:
    """Each value is what was expected, of the same type, as exactly as the type allows."""
    if isinstance(values, torch.Tensor):
        values, expected = (values,), (expected,)
    for value, wanted in zip(values, expected, strict=True):
        assert (value.shape, value.dtype) == (wanted.shape, wanted.dtype)
        assert relative_error(value, wanted) < TOLERANCE[wanted.dtype]


def random_block(
    width: int, heads: int, window: int, grid: tuple[int, int], dtype=torch.float32, device="cpu"
) -> Block:
    """A block of SAM's encoder for a grid of tokens; window 0 is global attention."""
    torch.manual_seed(0)
    block = Block(width, heads, use_rel_pos=True, window_size=window, input_size=grid)
    for name, parameter in block.named_parameters():
        if name.endswith("bias") or "rel_pos" in name:
            parameter.data = 0.2 * torch.randn(parameter.shape)
    return block.to(device, dtype).requires_grad_(False)


@torch.inference_mode()
def compare_block(
    block: Block, grid: tuple[int, int], indices=None, batch: int = 1, number: int = 0
) -> None:
    """One block over some tokens of a grid, int64 [B, n], or all."""
    weight = block.attn.qkv.weight
    count = grid[0] * grid[1] if indices is None else indices.shape[1]
    tokens = torch.randn(batch, count, weight.shape[1]).to(weight)
    expected = run_blocks([block], tokens, TokenPositions(grid, indices))
    name = f"{'window' if block.window_size else 'global'} attention"
    with forced_kernels(number, {name}) as kernels:
        value = run_blocks([block], tokens, TokenPositions(grid, indices))
    assert kernels.names == {name}
    # What is compared is what the block adds: the tokens themselves hide its errors.
    assert_equal(value - tokens, expected - tokens)


@torch.inference_mode()
def compare(function, *inputs, number: int = 0) -> None:
    """A function of the network."""
    expected = function(*inputs)
    with forced_kernels(number) as kernels:
        value = function(*inputs)
    assert kernels.names
    assert_equal(value, expected)

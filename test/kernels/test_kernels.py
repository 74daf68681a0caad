"""Kernels: interpreted and compiled without a GPU; compared, chosen and captured on one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch
from builders import random_keep
from kernel_comparisons import compare, compare_block, random_block, relative_error
from torch import nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

from vltp_ros.kernels import attention, choice, language, llama, nf4, norm
from vltp_ros.network import fused
from vltp_ros.network.attention import TokenPositions, run_blocks
from vltp_ros.network.window_lists import list_all_tokens, list_tokens
from vltp_ros.runtime.graphs import GraphRunner

GPU = torch.device("cuda")

needs_triton = pytest.mark.skipif(not language.INSTALLED, reason="Triton is not installed")

GRID = (64, 64)
KEPT = random_keep(1, 4096, 819)
"""ViT-H's tokens, and what is left of them at a rate of 80 %."""


@needs_triton
def test_kernels_equal_the_network_in_the_interpreter():
    script = Path(__file__).with_name("interpreted.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    environment = os.environ | {
        "TRITON_INTERPRET": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run([*command, script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


class Compiler:
    """Stands for a kernel, and compiles it for a GPU that is not there instead of launching it."""

    def __init__(self, kernel) -> None:
        self.kernel = kernel
        self.compiled = []

    def __getitem__(self, grid):
        return self

    def __call__(self, *arguments, num_warps, num_stages=1, **constants):
        import triton
        from triton.backends.compiler import GPUTarget

        kinds = [_kind(argument) for argument in arguments]
        signature = dict(zip(self.kernel.arg_names, kinds, strict=False))
        pointers = [number for number, kind in enumerate(kinds) if kind.startswith("*")]
        source = triton.compiler.ASTSource(
            self.kernel,
            signature | dict.fromkeys(constants, "constexpr"),
            constants,
            {(number,): [["tt.divisibility", 16]] for number in pointers},
        )
        options = {"num_warps": num_warps, "num_stages": num_stages}
        self.compiled.append(triton.compile(source, GPUTarget("cuda", 90, 32), options))


def _kind(argument) -> str:
    if isinstance(argument, torch.Tensor):
        kinds = {
            torch.float32: "fp32",
            torch.bfloat16: "bf16",
            torch.int32: "i32",
            torch.uint8: "u8",
        }
        return "*" + kinds[argument.dtype]
    return "i32" if isinstance(argument, int) else "fp32"


def meta(*shape):
    return torch.empty(shape, dtype=torch.bfloat16, device="meta")


@needs_triton
@pytest.mark.parametrize(("size", "pruned"), [(14, True), (0, True), (0, False)])
def test_attention_compiles_for_a_gpu(size, pruned):
    lists = list_all_tokens(GRID, size, 1, torch.device("cpu"))
    if pruned:
        lists = list_tokens(KEPT, GRID, size)
    tables = (meta(2 * lists.size[0] - 1, 80), meta(2 * lists.size[1] - 1, 80))
    tiling = (attention.WINDOW_TILINGS if size else attention.GLOBAL_TILINGS)[0]
    kernel = Compiler(attention._relative_attention)
    with mock.patch.object(attention, "_relative_attention", kernel):
        count = KEPT.shape[1] if pruned else 4096
        attention.relative_attention(meta(1, count, 3840), meta(3840), tables, 16, lists, tiling)
    assert kernel.compiled[0].metadata.shared < 227 * 1024  # what a program has on an H100


@needs_triton
def test_the_other_kernels_compile_for_a_gpu():
    states, weight = meta(300, 4096), meta(4096)
    packed = nf4.Packed((64, 128), torch.bfloat16, *(
        torch.empty(size, dtype=dtype, device="meta")
        for size, dtype in (
            ((4096, 1), torch.uint8), (16, torch.float32), (128, torch.uint8),
            (256, torch.float32), (1, torch.float32), ((), torch.float32),
        )
    ))  # fmt: skip
    for module, name, run in (
        (norm, "_add_and_normalize", lambda: norm.add_and_normalize(
            states, states, weight, None, 1e-5, 4)),
        (llama, "_rotate", lambda: llama.rotate(states, meta(300, 256), 4)),
        (llama, "_gate", lambda: llama.gate(states, states, 4)),
        (nf4, "_unpack", lambda: nf4.unpack([packed], 4)),
    ):  # fmt: skip
        with mock.patch.object(module, name, Compiler(getattr(module, name))) as kernel:
            run()
        assert kernel.compiled


@pytest.mark.requires_cuda
@pytest.mark.parametrize("number", range(len(attention.WINDOW_TILINGS)))
@pytest.mark.parametrize("indices", [None, KEPT])
@pytest.mark.parametrize("window", [0, 14])
def test_vit_h_on_a_gpu(window, indices, number):
    block = random_block(1280, 16, window, GRID, torch.bfloat16, "cuda")
    compare_block(
        block,
        GRID,
        None if indices is None else indices.to(block.attn.qkv.weight.device),
        number=number,
    )


@pytest.mark.requires_cuda
@pytest.mark.parametrize("number", range(len(llama.WARPS)))
def test_llama_on_a_gpu(number):
    where = {"dtype": torch.bfloat16, "device": GPU}
    states = torch.randn(291, 4096, **where)
    compare(fused.add_and_norm, LlamaRMSNorm(4096).to(**where), states, states.sin(), number=number)
    compare(fused.add_and_norm, nn.LayerNorm(4096).to(**where), states, number=number)
    turns = torch.randn(291, 64, device=GPU).repeat(1, 2)
    angles = torch.cat([turns.cos(), turns.sin()], 1).to(torch.bfloat16)
    compare(fused.rotate, states, angles, number=number)
    mlp = LlamaMLP(LlamaConfig(hidden_size=4096, intermediate_size=11008)).to(**where)
    compare(fused.run_mlp, mlp, states, number=number)


@pytest.mark.requires_cuda
@pytest.mark.parametrize("number", range(len(nf4.WARPS)))
def test_projections_on_a_gpu(number):
    bitsandbytes = pytest.importorskip(
        "bitsandbytes", reason="bitsandbytes is missing: pip install '.[quantization]'"
    )
    where = {"dtype": torch.bfloat16, "device": GPU}
    states = torch.randn(291, 4096, **where)
    layers = [nn.Linear(4096, width, bias=False, **where) for width in (4096, 1024, 1024)]
    fused.lay_side_by_side(layers)
    compare(fused.project, layers, states, number=number)
    packed = [bitsandbytes.nn.Linear4bit(4096, 4096, False, torch.bfloat16) for _ in range(3)]
    for layer in packed:
        weight = bitsandbytes.nn.Params4bit(torch.randn(4096, 4096), False, quant_type="nf4")
        layer.weight = weight.to(GPU)
    compare(fused.project, packed, states, number=number)
    block = random_block(1280, 16, 14, GRID, torch.bfloat16, GPU)
    compare(fused.run_gelu_mlp, block.mlp, torch.randn(1, 819, 1280, **where), number=number)


@pytest.mark.requires_cuda
@torch.inference_mode()
def test_a_capture_holds_what_was_measured_to_be_faster():
    device = torch.device("cuda")
    runner, kernels = GraphRunner(device, fall_back=False), choice.KernelChoice()
    block = random_block(1280, 16, 14, GRID, torch.bfloat16, device)
    positions = TokenPositions(GRID, KEPT.to(device))

    def work(tokens):
        return run_blocks([block], tokens, positions)

    with mock.patch.object(fused, "KERNELS", kernels):
        for _ in range(3):
            tokens = torch.randn(1, KEPT.shape[1], 1280, dtype=torch.bfloat16, device=device)
            value, expected = runner("block", work, tokens), work(tokens)
            assert relative_error(value, expected) < 1e-3
    assert {name for name, *_ in kernels.choices} == {
        "residual and norm",
        "window attention",
        "GELU",
    }
    for choices in kernels.choices.values():
        assert choices.milliseconds.keys() > {choice.PLAIN}

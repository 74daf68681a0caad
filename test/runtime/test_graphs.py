"""Graphs on a GPU: the same answers as eager, for changing inputs, in flat memory."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from builders import tiny_model

from vltp_ros.evaluation import broken_captures
from vltp_ros.network.csp import CSP_PRESETS
from vltp_ros.network.run import eager
from vltp_ros.network.token_selection import fixed_budget
from vltp_ros.runtime.graphs import GraphRunner

pytestmark = pytest.mark.requires_cuda

DEVICE = torch.device("cuda")
STAGES = (2, 3)


@pytest.fixture
def runner():
    return GraphRunner(DEVICE)


def pipeline(model, square, seg, rate, run):
    # Contiguous, as what graphs copy: the strides of expand() may choose another kernel.
    model.run = run
    tokens = model.stem(square, STAGES).expand(len(seg), -1, -1).contiguous()
    encoded = model.encode(tokens, STAGES, fixed_budget((rate, rate)), model.score(seg))
    return model.draw(encoded, seg), *encoded.kept, *encoded.scores


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_replay_equals_eager_for_changing_inputs_and_rates(runner, precision):
    model = tiny_model().to(DEVICE)
    model.cast(precision)
    for rate in (0.5, 0.8, 0.5):  # graphs captured earlier are replayed after later ones
        for tasks in (1, 2):
            square = torch.randn(1, 3, 160, 160, device=DEVICE)
            seg = torch.randn(tasks, 1, 256, device=DEVICE)
            for value, expected in zip(
                pipeline(model, square, seg, rate, runner),
                pipeline(model, square, seg, rate, eager),
                strict=True,
            ):
                torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-3)
    assert not runner.failed and len(runner) > 0


@pytest.mark.parametrize("csp", [None, CSP_PRESETS["65"]])
@torch.inference_mode()
def test_the_language_model_replays_as_eager(runner, csp):
    reasoner = tiny_model().reasoner.to(DEVICE)
    for tasks in (["cut"], ["drink", "something to drive a nail"], ["sit"]):
        image = torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8, device=DEVICE)
        features = reasoner.encode_image(image)
        reasoner.run = runner
        replayed = reasoner.reason(features, [tasks], csp=csp, output_attentions=True)
        reasoner.run = eager
        expected = reasoner.reason(features, [tasks], csp=csp, output_attentions=True)
        torch.testing.assert_close(replayed.seg, expected.seg, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(replayed.attention, expected.attention, rtol=1e-3, atol=1e-5)
    assert not runner.failed and len(runner) > 0


@torch.inference_mode()
def test_a_thousand_replays_leave_memory_flat(runner):
    model = tiny_model().to(DEVICE)
    pipeline_inputs = torch.randn(8, 1, 3, 160, 160, device=DEVICE)
    seg = torch.randn(1, 1, 256, device=DEVICE)
    pipeline(model, pipeline_inputs[0], seg, 0.5, runner)
    torch.cuda.synchronize()
    before, graphs = torch.cuda.memory_allocated(), len(runner)
    for number in range(1000):
        pipeline(model, pipeline_inputs[number % 8], seg, 0.5, runner)
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == before and len(runner) == graphs


@torch.inference_mode()
def test_an_ordinary_error_leaves_the_graphs_on(runner):
    x = torch.ones(4, device=DEVICE)
    with pytest.raises(RuntimeError, match="size"):
        runner("wrong", lambda x: x + torch.ones(3, device=DEVICE), x)
    assert runner("double", lambda x: 2 * x, x).sum() == 8
    assert not runner.failed and len(runner) == 1


@pytest.mark.parametrize("limit", [2, 64])
@torch.inference_mode()
def test_products_replay_as_eager_whatever_was_captured_or_dropped_meanwhile(limit):
    """cuBLAS reads a workspace, whose address a graph keeps: it must not be freed under it."""
    runner = GraphRunner(DEVICE, limit=limit)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(1024, 1024, device=DEVICE, dtype=torch.bfloat16)
    other = GraphRunner(DEVICE)  # another session's

    def work(x):
        return (x @ weights @ weights.T).float() @ weights.float()

    for number in range(200):
        rows = 64 * int(torch.randint(1, 6, (), generator=generator))
        x = torch.randn(rows, 1024, device=DEVICE, dtype=torch.bfloat16)
        if number % 20 == 0:
            other("work", work, x[:32])
            other.flush()
        poison = [torch.full((size,), torch.nan, device=DEVICE) for size in (2**18, 2**20, 2**23)]
        del poison  # what is freed too early is overwritten by the next of these
        replayed, expected = runner("work", work, x), work(x)
        assert (replayed - expected).norm() <= 1e-3 * expected.norm()
    assert not runner.failed and len(runner) <= limit


@pytest.mark.parametrize("case", broken_captures.CASES)
def test_a_capture_that_breaks_does_no_harm(case):
    done = subprocess.run(
        [sys.executable, broken_captures.__file__, case, str(DEVICE)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr

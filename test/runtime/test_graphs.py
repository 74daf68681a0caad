"""Graphs on a GPU: the same answers as eager, for changing inputs, in flat memory."""

from __future__ import annotations

import logging

import pytest
import torch
from builders import tiny_model

from vltp_ros.config import CSP_PRESETS
from vltp_ros.network.run import directly
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
    tokens = model.stem(square, STAGES, run).expand(len(seg), -1, -1).contiguous()
    encoded = model.encode(tokens, STAGES, fixed_budget((rate, rate)), model.score(seg, run), run)
    return model.draw(encoded, seg, run), *encoded.kept, *encoded.scores


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_replay_equals_eager_for_changing_inputs_and_rates(runner, precision):
    model = tiny_model().to(DEVICE)
    reduced = precision is not torch.float32
    with torch.autocast("cuda", torch.bfloat16, enabled=reduced, cache_enabled=False):
        for rate in (0.5, 0.8, 0.5):  # graphs captured earlier are replayed after later ones
            for tasks in (1, 2):
                square = torch.randn(1, 3, 160, 160, device=DEVICE)
                seg = torch.randn(tasks, 1, 256, device=DEVICE)
                for found, expected in zip(
                    pipeline(model, square, seg, rate, runner),
                    pipeline(model, square, seg, rate, directly),
                    strict=True,
                ):
                    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert not runner.failed and len(runner) > 0


@pytest.mark.parametrize("csp", [None, CSP_PRESETS["65"]])
@torch.inference_mode()
def test_the_language_model_replays_as_eager(runner, csp):
    reasoner = tiny_model().reasoner.to(DEVICE)
    for tasks in (["cut"], ["drink", "something to drive a nail"], ["sit"]):
        image = torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8, device=DEVICE)
        seen = reasoner.see(image)
        found = reasoner.reason(seen, [tasks], csp=csp, listen=True, run=runner)
        expected = reasoner.reason(seen, [tasks], csp=csp, listen=True)
        torch.testing.assert_close(found.seg, expected.seg, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found.attention, expected.attention, rtol=1e-3, atol=1e-5)
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
def test_what_cannot_be_captured_runs_as_it_is_with_one_warning(runner, caplog):
    def waits(x):
        return x * x.sum().item()

    x = torch.ones(4, device=DEVICE)
    stream = torch.cuda.current_stream()
    with caplog.at_level(logging.WARNING):
        assert runner("waits", waits, x).sum() == 16
        assert runner("waits", waits, 2 * x).sum() == 64
    assert runner.failed and len(caplog.records) == 1
    assert torch.cuda.current_stream() == stream


@torch.inference_mode()
def test_without_falling_back_a_failing_capture_is_an_error():
    runner = GraphRunner(DEVICE, fall_back=False)
    with pytest.raises(RuntimeError):
        runner("waits", lambda x: x * x.sum().item(), torch.ones(4, device=DEVICE))


@torch.inference_mode()
def test_an_ordinary_error_leaves_the_graphs_on(runner):
    x = torch.ones(4, device=DEVICE)
    with pytest.raises(RuntimeError, match="size"):
        runner("wrong", lambda x: x + torch.ones(3, device=DEVICE), x)
    assert runner("double", lambda x: 2 * x, x).sum() == 8
    assert not runner.failed and len(runner) == 1


@torch.inference_mode()
def test_the_graph_unused_for_longest_makes_room(runner):
    runner.limit = 2
    runs = []

    def double(x):
        runs.append(len(x))
        return 2 * x

    for size in (1, 2, 1, 3):
        assert runner("double", double, torch.ones(size, device=DEVICE)).sum() == 2 * size
    assert len(runner) == 2
    runs.clear()
    for size in (1, 3, 2):
        runner("double", double, torch.ones(size, device=DEVICE))
    assert set(runs) == {2}

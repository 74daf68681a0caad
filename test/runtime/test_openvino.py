"""Functions compiled for a CPU, against the same functions as they are."""

from __future__ import annotations

import logging

import numpy as np
import psutil
import pytest
import torch
from builders import tiny_model

from vltp_ros.network.run import eager
from vltp_ros.runtime import runners
from vltp_ros.runtime.graphs import CaptureError, GraphRunner
from vltp_ros.runtime.openvino import OpenVinoCompiler
from vltp_ros.runtime.session import Session
from vltp_ros.runtime.settings import InferenceSettings

pytest.importorskip("openvino", reason="OpenVINO is missing: pip install '.[cpu]'")

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def without_gradients():
    """A runner compiles nothing that has gradients."""
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def compiler():
    return OpenVinoCompiler()


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"rates": (0.0,)},
        {"selector": "attention", "csp": "65"},
        {"csp": "65", "csp_selector": "cls"},
    ],
    ids=str,
)
def test_a_compiled_session_equals_an_eager_one(compiler, settings):
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    session = Session(tiny_model(), CPU, InferenceSettings(**settings))
    tasks = ["cut bread", "drive a nail"]
    expected = session.segment(image, tasks)
    runner = GraphRunner(CPU, fall_back=False, capturer=compiler)
    session.model.run = session.model.reasoner.run = runner
    for _ in range(2):  # compiled, and run once more
        for result, plain in zip(session.segment(image, tasks), expected, strict=True):
            steps = result.levels.astype(int) - plain.levels
            assert np.abs(steps).max() <= 1  # of 255: the last digit may round either way
            assert all(map(np.array_equal, result.kept, plain.kept))
    assert len(runner) > 2


def test_a_session_compiles_what_runs_often(monkeypatch):
    monkeypatch.setattr(runners, "CPU_PATIENCE", 2)
    session = Session(tiny_model(), CPU, InferenceSettings(rates=(0.0,)))
    session.model.reasoner.run = eager  # SAM's parts will do
    captures = []
    for _ in range(3):
        session.segment(np.zeros((90, 120, 3), np.uint8), ["cut bread"])
        captures.append(session.captures)
    assert captures == [0, 0, 2]  # stem and mask decoder


def test_results_keep_their_type_and_their_memory(compiler):
    compiled = compiler.capture(lambda x: (2 * x, x.argmax(1)), (torch.ones(2, 3),))
    first = torch.tensor([[1.0, 3, 2], [0, 1, 5]])
    double, best = compiled.replay((first,))
    compiled.replay((torch.zeros(2, 3),))
    torch.testing.assert_close(double, 2 * first)
    assert best.dtype is torch.int64 and best.tolist() == [1, 2]


def test_inputs_may_have_any_strides(compiler):
    compiled = compiler.capture(lambda x, y: x @ y, (torch.ones(4, 3), torch.ones(3, 5)))
    x, y = torch.randn(3, 4).T, torch.randn(3, 1).expand(-1, 5)
    torch.testing.assert_close(compiled.replay((x, y)), x @ y)


def test_half_precision_goes_in_and_out(compiler):
    x = torch.randn(8, 16).bfloat16()
    weight = torch.randn(4, 16).bfloat16()
    result = compiler.capture(lambda x: torch.nn.functional.linear(x, weight), (x,)).replay((x,))
    assert result.dtype is torch.bfloat16
    torch.testing.assert_close(result.float(), x.float() @ weight.float().T, rtol=0.02, atol=0.1)


def test_images_are_left_to_pytorch(compiler):
    image = torch.arange(12, dtype=torch.uint8).view(1, 3, 4)
    runs = []
    captured = compiler.capture(lambda x: runs.append(x) or 2 * x, (image,))
    assert torch.equal(captured.replay((image,)), 2 * image) and len(runs) == 1


def test_what_cannot_be_compiled_runs_as_it_is_after_a_warning(compiler, caplog):
    runner = GraphRunner(CPU, capturer=compiler)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert runner("spectrum", torch.special.i1e, torch.zeros(3)).tolist() == [0, 0, 0]
    assert runner.failed and len(caplog.messages) == 1 and "spectrum" in caplog.messages[0]


def test_an_error_of_the_function_itself_is_the_callers(compiler):
    def refuse(x):
        raise ValueError(f"x is {x.tolist()}")

    with pytest.raises(ValueError, match=r"x is \[1.0\]"):
        compiler.capture(refuse, (torch.ones(1),))


def test_weights_that_do_not_fit_a_second_time_are_not_compiled(compiler, monkeypatch):
    weight = torch.ones(1024, 1024)
    free = psutil.virtual_memory()._replace(available=2**22)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(CaptureError, match=r"4 MiB of weights.*4 MiB"):
        compiler.capture(lambda x: x @ weight, (torch.ones(1, 1024),))

"""Which graphs are held, dropped and given up; a stand-in captures, as a CPU cannot."""

from __future__ import annotations

import copy
import logging

import pytest
import torch

from vltp_ros.runtime.graphs import CaptureError, GraphRunner

pytestmark = pytest.mark.usefixtures("without_gradients")


@pytest.fixture
def without_gradients():
    with torch.no_grad():
        yield


class Recording:
    """What was captured: a function, and how often it was replayed."""

    def __init__(self, function):
        self.function, self.replays = function, 0

    def replay(self, tensors):
        self.replays += 1
        return self.function(*tensors)


class FakeCapturer:
    """Captures without a GPU; ``errors`` are raised first, one at each capture."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.captured, self.attempts, self.resets = [], 0, 0

    def capture(self, function, tensors):
        self.attempts += 1
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        self.captured.append(Recording(function))
        return self.captured[-1]

    def reset(self):
        self.resets += 1


def make_runner(*errors, **options):
    capturer = FakeCapturer(*errors)
    return GraphRunner(torch.device("cpu"), capturer=capturer, **options), capturer


def double(x):
    return 2 * x


def test_equal_keys_and_shapes_are_captured_once():
    runner, capturer = make_runner()
    for _ in range(3):
        assert runner("double", double, torch.ones(4)).sum() == 8
    assert capturer.attempts == len(runner) == 1 and capturer.captured[0].replays == 3


@pytest.mark.parametrize(
    ("key", "tensor"),
    [
        ("other", torch.ones(4)),
        ("double", torch.ones(5)),
        ("double", torch.ones(2, 2)),
        ("double", torch.ones(4, dtype=torch.float64)),
    ],
)
def test_another_key_shape_or_type_is_another_graph(key, tensor):
    runner, _ = make_runner()
    runner("double", double, torch.ones(4))
    runner(key, double, tensor)
    assert len(runner) == 2


def test_at_the_limit_all_are_dropped_at_once():
    runner, capturer = make_runner(limit=2)
    for size in (1, 2, 1, 2):
        runner("double", double, torch.ones(size))
    assert capturer.resets == 0 and len(runner) == 2
    assert runner("double", double, torch.ones(3)).sum() == 6
    assert capturer.resets == 1 and len(runner) == 1
    runner("double", double, torch.ones(1))
    assert capturer.attempts == 4


def test_what_cannot_be_captured_runs_as_it_is_for_those_shapes_alone(caplog):
    runner, capturer = make_runner(CaptureError("it waits"))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert runner("double", double, torch.ones(4)).sum() == 8
    assert [record.message for record in caplog.records] == [
        "double runs as it is, as it cannot be captured: it waits"
    ]
    assert runner.failed and not capturer.captured and capturer.attempts == capturer.resets == 1
    runner("double", double, torch.ones(5))
    assert len(runner) == 1


def test_what_runs_seldom_is_not_captured():
    runner, capturer = make_runner(patience=2)
    for number in range(5):
        assert runner("double", double, torch.ones(4)).sum() == 8
        assert capturer.attempts == (number >= 2)
    runner("double", double, torch.ones(5))  # other shapes are counted apart
    assert capturer.attempts == 1 and runner.captures == 1


def test_a_copy_of_a_network_runs_as_it_is():
    runner, capturer = make_runner()
    copied = copy.deepcopy(runner)
    assert copied("double", double, torch.ones(4)).sum() == 8 and not capturer.attempts


def test_what_has_gradients_is_not_captured():
    runner, capturer = make_runner()
    x = torch.ones(4, requires_grad=True)
    with torch.enable_grad():
        runner("double", double, x).sum().backward()
    assert x.grad.sum() == 8 and not capturer.attempts


def test_without_falling_back_a_failing_capture_is_an_error():
    runner, _ = make_runner(CaptureError("it waits"), fall_back=False)
    with pytest.raises(CaptureError, match="it waits"):
        runner("double", double, torch.ones(4))


def test_an_error_of_the_function_itself_is_the_callers():
    runner, _ = make_runner(RuntimeError("sizes differ"))
    with pytest.raises(RuntimeError, match="sizes differ"):
        runner("double", double, torch.ones(4))
    assert not runner.failed


def test_out_of_memory_drops_the_others_and_tries_again():
    runner, capturer = make_runner(None, torch.OutOfMemoryError("full"))
    runner("double", double, torch.ones(4))
    assert runner("double", double, torch.ones(5)).sum() == 10
    assert capturer.resets == 1 and len(runner) == 1 and not runner.failed


def test_out_of_memory_twice_costs_one_shape_its_graph(caplog):
    full = torch.OutOfMemoryError("full")
    runner, capturer = make_runner(full, full)
    with caplog.at_level(logging.WARNING):
        assert runner("double", double, torch.ones(4)).sum() == 8
    assert caplog.messages == ["double runs as it is, for want of memory: full"]
    assert runner.failed and len(runner) == 0 and capturer.resets == 2
    runner("double", double, torch.ones(5))
    assert len(runner) == 1

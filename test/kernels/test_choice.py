"""Which way is used where, with a stand-in for the GPU and its clock."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from torch.testing import assert_close

from vltp_ros.kernels.choice import PLAIN, Choice, KernelChoice

X = torch.tensor([1.0, 2.0])


calls: list[str] = []
"""Options that the kernel ran with."""


class FakeGpu:
    """Serves every tensor, and says of each way how long it took."""

    def __init__(self, milliseconds: dict[str, float]) -> None:
        self.times = milliseconds
        self.captures = False
        self.measured: list[str] = []

    def serves(self, tensor):
        return True

    def capturing(self):
        return self.captures

    def milliseconds(self, work):
        calls.clear()
        work()
        self.measured.append(calls[0] if calls else PLAIN)
        return self.times[self.measured[-1]]


def double(option):
    calls.append(option)
    return 2 * X


def run(kernels, kernel=double, options=("small", "large"), x=X):
    calls.clear()
    with torch.no_grad():
        return kernels.run("doubling", (), x, lambda: 2 * x, kernel, options)


@pytest.mark.parametrize(
    ("times", "used"),
    [
        ({PLAIN: 3.0, "small": 2.0, "large": 1.0}, "large"),
        ({PLAIN: 3.0, "small": 1.0, "large": 2.0}, "small"),
        ({PLAIN: 1.0, "small": 2.0, "large": 3.0}, PLAIN),
    ],
)
def test_the_fastest_way_is_used_and_measured_once(times, used):
    gpu = FakeGpu(times)
    kernels = KernelChoice(enabled=True, gpu=gpu)
    run(kernels)
    for _ in range(2):
        assert_close(run(kernels), 2 * X)
        assert calls == ([] if used == PLAIN else [used])
    (choice,) = kernels.choices.values()
    assert choice == Choice(used, None if used == PLAIN else used, times)
    (row,) = json.loads(json.dumps(kernels.table()))
    assert (row["kernel"], row["used"], row["milliseconds"]) == ("doubling", used, times)
    assert sorted(gpu.measured) == sorted(times)


def test_each_size_and_type_is_measured():
    kernels = KernelChoice(enabled=True, gpu=FakeGpu({PLAIN: 1.0, "small": 2.0, "large": 3.0}))
    for x in (X, X.half(), torch.ones(3), X):
        run(kernels, lambda option, x=x: 2 * x, x=x)
    assert len(kernels.choices) == 3


def broken(option):
    raise ValueError(f"{option} does not compile")


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (broken, "small: ValueError: small does not compile"),
        (lambda option: 3 * X, "small: it is off by 2.2 of 4.5; allowed: 0.1%"),
        (lambda option: X / 0 * 0, "small: it is off by nan of 4.5; allowed: 0.1%"),
        (
            lambda option: 2 * X.half(),
            "small: it gives torch.float16 (2,), not torch.float32 (2,)",
        ),
    ],
)
def test_a_kernel_that_fails_is_not_used_and_said_once(kernel, reason, caplog):
    kernels = KernelChoice(enabled=True, gpu=FakeGpu({PLAIN: 3.0, "small": 1.0, "large": 1.0}))
    with caplog.at_level(logging.WARNING):
        for x in (X, X, torch.stack([X, X])):
            assert_close(run(kernels, kernel, x=x), 2 * x)
    assert {choice.used for choice in kernels.choices.values()} == {PLAIN}
    (record,) = caplog.records
    assert record.getMessage() == f"the kernel for doubling is not used: {reason}"


def test_one_option_that_fails_leaves_the_others(caplog):
    kernels = KernelChoice(enabled=True, gpu=FakeGpu({PLAIN: 3.0, "large": 1.0}))
    run(kernels, lambda option: broken(option) if option == "small" else double(option))
    (choice,) = kernels.choices.values()
    assert choice.used == "large" and choice.milliseconds == {PLAIN: 3.0, "large": 1.0}
    assert not caplog.records


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, torch.AcceleratorError])
def test_what_is_no_fault_of_the_kernel_is_raised(error):
    kernels = KernelChoice(enabled=True, gpu=FakeGpu({PLAIN: 1.0}))

    def kernel(option):
        raise error("the GPU is lost")

    with pytest.raises(error):
        run(kernels, kernel)
    assert not kernels.choices


def test_nothing_is_measured_in_a_capture_nor_where_kernels_are_not_used():
    gpu = FakeGpu({PLAIN: 3.0, "small": 1.0, "large": 1.0})
    kernels = KernelChoice(enabled=True, gpu=gpu)
    gpu.captures = True
    assert_close(run(kernels), 2 * X)
    gpu.captures = False
    with torch.enable_grad():
        kernels.run("doubling", (), X, lambda: 2 * X, double, ("small",))
    run(kernels, options=())
    run(KernelChoice(enabled=False, gpu=gpu))
    assert not kernels.choices and not gpu.measured and not calls
    run(kernels)
    gpu.captures = True
    run(kernels)
    assert calls == ["small"]  # as decided before


def test_on_a_cpu_the_plain_way_is_taken():
    kernels = KernelChoice(enabled=True)
    assert_close(run(kernels, broken), 2 * X)
    assert not kernels.choices


def test_an_environment_variable_switches_kernels_off(monkeypatch):
    monkeypatch.setenv("VLTP_KERNELS", "0")
    assert not KernelChoice().enabled

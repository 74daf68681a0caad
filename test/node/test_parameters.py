"""Parameters: described, changed while the node runs, refused with a reason."""

from __future__ import annotations

import pytest
from bench import start
from fake_session import FakeSession
from rcl_interfaces.srv import DescribeParameters, SetParametersAtomically
from rclpy.parameter import Parameter


def set_parameters(bench, **values):
    """Set parameters as `ros2 param set` does; the result."""
    parameters = [Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
    request = SetParametersAtomically.Request(parameters=parameters)
    return bench.call(SetParametersAtomically, "vltp/set_parameters_atomically", request).result


def test_parameters_change_while_the_node_runs(bench, vltp):
    start(vltp)
    session = vltp._session
    assert set_parameters(bench, rates=[0.5, 0.8], threshold=0.4, task="pour").successful
    assert (session.rates, session.threshold) == ((0.5, 0.8), 0.4)
    assert vltp.config.task == "pour"
    assert set_parameters(bench, threshold=-1.0).successful
    assert session.threshold == FakeSession.threshold


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rates": [0.5]}, "rates has 1 values"),
        ({"rates": [0.5, 1.0]}, "1.0; it must be at most 0.99"),
        ({"rates": [0.5, -0.1]}, "-0.1; it must be at least 0"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": "high"}, "type"),
        ({"task": "x" * 10_000}, "10000 characters"),
        ({"task": ""}, "task is ''"),
        ({"device": "cuda"}, "read-only"),
        ({"model": "/elsewhere"}, "read-only"),
        ({"task": "pour", "overlay_alpha": 2.0}, "overlay_alpha"),
    ],
)
def test_refused_parameters_change_nothing(vltp, values, words):
    start(vltp)
    before = vltp.config
    result = vltp.set_parameters_atomically([Parameter(k, value=v) for k, v in values.items()])
    assert not result.successful
    assert words in result.reason
    assert vltp.config == before
    assert vltp._session.rates == ()


def test_parameters_are_described(bench, vltp):
    request = DescribeParameters.Request(names=["overlay_alpha", "device", "threads"])
    alpha, device, threads = bench.call(
        DescribeParameters, "vltp/describe_parameters", request
    ).descriptors
    assert alpha.description and alpha.floating_point_range[0].to_value == 1.0
    assert device.read_only and not alpha.read_only
    assert threads.integer_range[0].to_value == 1024

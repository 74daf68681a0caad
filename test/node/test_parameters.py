"""Parameters: described, changed while the node runs, refused with a reason."""

from __future__ import annotations

import array
import threading

import pytest
import rclpy
import yaml
from bench import diagnosis, start
from diagnostic_msgs.msg import DiagnosticStatus
from fake_session import CONFIG, FakeSession
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import DescribeParameters, SetParametersAtomically
from rclpy.parameter import Parameter
from std_msgs.msg import String

from vltp_ros.node.node import THREADS, VltpNode
from vltp_ros.runtime.reuse import ReuseConfig


def set_parameters(bench, **values):
    """Set parameters as `ros2 param set` does; the result."""
    parameters = [Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
    request = SetParametersAtomically.Request(parameters=parameters)
    return bench.call(SetParametersAtomically, "vltp/set_parameters_atomically", request).result


def state_of(vltp) -> tuple:
    """All that parameters may have changed."""
    values = {name: str(p.value) for name, p in vltp.get_parameters_by_prefix("").items()}
    tasks = [task.text for task in vltp._tasks.current]
    return vltp.config, values, tasks, vltp._model._session.settings


def test_parameters_change_while_the_node_runs(bench, vltp):
    start(vltp)
    session = vltp._model._session
    assert set_parameters(bench, rates=[0.5, 0.8], threshold=0.4, task="pour").successful
    assert (session.settings.rates, session.settings.threshold) == ((0.5, 0.8), 0.4)
    assert vltp.config.task == "pour"
    assert set_parameters(bench, threshold=-1.0).successful
    assert session.settings.threshold == CONFIG.threshold
    assert set_parameters(bench, selector="attention", csp=65, reuse_max_age=2.0).successful
    assert (session.settings.selector, session.settings.csp) == ("attention", "65")
    assert session.settings.reuse == ReuseConfig(max_age=2.0)
    assert set_parameters(bench, selector="own").successful
    assert session.settings.selector == CONFIG.pruning.selector


def test_a_task_is_set_again_after_another_came_on_the_topic(bench, vltp):
    start(vltp, task="pour")
    topic = bench.node.create_publisher(String, "task", 1)
    bench.wait(
        lambda: [task.text for task in vltp._tasks.current] == ["cut"],
        meanwhile=lambda: topic.publish(String(data="cut")),
    )
    assert set_parameters(bench, task="pour").successful
    assert [task.text for task in vltp._tasks.current] == ["pour"]


def test_a_second_node_of_the_same_name_is_noticed(bench, vltp, monkeypatch):
    monkeypatch.setattr("vltp_ros.node.node.TWIN_SECONDS", 0.5)
    start(vltp)
    twin = rclpy.create_node("vltp", context=bench.context)
    status = diagnosis(bench, lambda status: "1 more node of the name /vltp" in status.message)
    assert status.level == DiagnosticStatus.WARN
    twin.destroy_node()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rates": [0.1, 0.2, 0.3]}, "rates has 3 values"),
        ({"rates": [0.5, 1.0]}, "1.0; it must be at most 0.99"),
        ({"rates": [0.5, -0.1]}, "-0.1; it must be at least 0"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": "high"}, "type"),
        ({"task": "x" * 10_000}, "10000 characters"),
        ({"task": ""}, "task is ''"),
        ({"device": "cuda"}, "read-only"),
        ({"model": "/elsewhere"}, "read-only"),
        ({"selector": "luck"}, "'luck'; allowed: own, prune_decoder, attention"),
        ({"csp": 99}, "csp is 99; allowed: 0, 65, 70"),
        ({"quantization": "nf4"}, "read-only"),
        ({"task": "pour", "overlay_alpha": 2.0}, "overlay_alpha"),
        ({"task": "pour", "csp": 65, "rates": [0.1, 0.2, 0.3]}, "rates has 3 values"),
        ({"csp": 65, "threshold": 0.5, "task": " "}, "task is ' '"),
        ({"rates": [0.3], "watchdog": 3.0, "device": "cuda"}, "read-only"),
    ],
)
def test_refused_parameters_change_nothing(vltp, values, words):
    start(vltp)
    before = state_of(vltp)
    result = vltp.set_parameters_atomically([Parameter(k, value=v) for k, v in values.items()])
    assert not result.successful
    assert words in result.reason
    assert state_of(vltp) == before


class Shared(VltpNode):
    """Somebody else is asked after this node whether parameters may be set.

    rclpy asks the newest callback first.
    """

    @staticmethod
    def other(parameters) -> SetParametersResult:
        return SetParametersResult(successful=True)

    def add_on_set_parameters_callback(self, callback):
        super().add_on_set_parameters_callback(lambda parameters: self.other(parameters))
        super().add_on_set_parameters_callback(callback)


@pytest.fixture
def shared(bench):
    """The node with the fake session, on which somebody else has a say."""
    return bench.add(Shared(FakeSession.load), THREADS)


def test_what_somebody_else_refuses_has_no_effect(bench, shared):
    start(shared)
    before = state_of(shared)
    shared.other = lambda _: SetParametersResult(successful=False, reason="not on Sundays")
    values = {"task": "pour", "rates": [0.3], "selector": "attention", "overlay_alpha": 0.1}
    assert set_parameters(bench, **values).reason == "not on Sundays"
    assert state_of(shared) == before
    shared.other = Shared.other
    assert set_parameters(bench, **values).successful
    assert state_of(shared) != before


def test_a_model_that_fails_on_what_it_accepted_is_told_and_asked_again(
    bench, shared, monkeypatch, capfd
):
    def fail(*_):
        raise RuntimeError("gone on request")

    start(shared)
    with monkeypatch.context() as patch:
        patch.setattr(FakeSession, "configure", fail)
        assert set_parameters(bench, rates=[0.3], task="pour").successful
    assert "gone on request" in capfd.readouterr().err
    assert list(shared.get_parameter("rates").value) == [0.3] and shared.config.rates == (0.3,)
    assert [task.text for task in shared._tasks.current] == ["pour"]
    assert shared._model._session.settings.rates == CONFIG.pruning.rates
    assert set_parameters(bench, overlay_alpha=0.1).successful
    assert shared._model._session.settings.rates == (0.3, 0.3)


def test_what_is_not_the_model_s_does_not_wait_for_it(bench, vltp):
    start(vltp)
    gate, begun = threading.Event(), threading.Event()
    work = vltp._model._worker.ask(lambda session: begun.set() or gate.wait(20))
    assert begun.wait(10)
    assert set_parameters(bench, overlay_alpha=0.1, task="pour").successful
    assert not work.done() and vltp.config.overlay_alpha == 0.1
    gate.set()


def test_parameters_are_described(bench, vltp):
    request = DescribeParameters.Request(names=["overlay_alpha", "device", "threads"])
    alpha, device, threads = bench.call(
        DescribeParameters, "vltp/describe_parameters", request
    ).descriptors
    assert alpha.description and alpha.floating_point_range[0].to_value == 1.0
    assert device.read_only and not alpha.read_only
    assert threads.integer_range[0].to_value == 1024


def test_a_dump_of_the_parameters_makes_the_same_node(bench, make_vltp, tmp_path):
    def dumped(node) -> dict:
        """As `ros2 param dump` writes it."""
        parameters = node.get_parameters_by_prefix("")
        return {
            name: list(parameter.value)
            if isinstance(parameter.value, array.array)
            else parameter.value
            for name, parameter in parameters.items()
        }

    vltp = make_vltp(cameras=["front"], rates=[0.5, 0.8], task="pour", watchdog=3.0)
    before = dumped(vltp)
    assert before["rates"] == [0.5, 0.8] and before["image_depth"] == 5
    file = tmp_path / "vltp.yaml"
    file.write_text(yaml.safe_dump({"/vltp": {"ros__parameters": before}}))
    again = bench.add(
        VltpNode(FakeSession.load, cli_args=["--ros-args", "--params-file", str(file)])
    )
    assert dumped(again) == before
    assert again.config == vltp.config

"""The model in a process of its own: whatever happens to it, the node goes on and gets another."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import psutil
import pytest
from bench import change_state, diagnosis, good_image, state, values
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from test_parameters import Shared

from vltp_ros.msg import InferenceTiming, TaskList
from vltp_ros.node.node import THREADS, VltpNode
from vltp_ros.node.qos import LATCHED
from vltp_ros.node.retries import Retries
from vltp_ros.srv import SegmentImage


@pytest.fixture
def make_isolated(bench):
    """Makes the node whose model, with faults on request, runs in a process of its own."""

    def make(kind=VltpNode, **parameters):
        given = {"model": "/fine", "task": "cut bread", **parameters}
        options = [Parameter(name, value=value) for name, value in given.items()]
        node = kind("faulty_session:FaultySession.load", parameter_overrides=options)
        bench.add(node, THREADS)
        node.autostart()
        return node

    return make


def process_of(vltp) -> int:
    """The model's process, once there is one."""
    return int(vltp._model._session.name.split()[1])


def test_another_model_takes_over_and_tasks_and_parameters_stay(bench, make_isolated, camera):
    vltp = make_isolated()
    masks = bench.listen(Image, "vltp/mask")
    bench.wait(lambda: masks, meanwhile=camera)
    vltp.set_parameters([Parameter("task", value="pour"), Parameter("overlay_alpha", value=0.25)])
    first = process_of(vltp)
    os.kill(first, signal.SIGKILL)
    told = diagnosis(bench, lambda status: "SIGKILL" in status.message, meanwhile=camera)
    assert told.level == DiagnosticStatus.ERROR
    tasks = bench.listen(TaskList, "vltp/active_tasks", LATCHED)
    masks.clear()
    bench.wait(lambda: masks, meanwhile=camera)
    assert process_of(vltp) != first and state(bench) == "active"
    assert [task.text for task in bench.wait(lambda: tasks)[-1].tasks] == ["pour"]
    assert vltp.config.overlay_alpha == 0.25
    status = diagnosis(bench, lambda status: "restarts" in str(status.values))
    assert values(status)["model restarts"] == "1"


@pytest.mark.parametrize("fault", ["hang", "hold the lock"])
def test_a_stuck_model_is_killed_and_replaced(bench, make_isolated, camera, fault):
    vltp = make_isolated(watchdog=3.0)
    masks = bench.listen(Image, "vltp/mask")
    bench.wait(lambda: masks, meanwhile=camera)
    first = process_of(vltp)
    request = SegmentImage.Request(image=good_image(1), tasks=[fault])
    answers = []
    asking = threading.Thread(
        target=lambda: answers.append(bench.call(SegmentImage, "vltp/segment", request))
    )
    asking.start()
    diagnosis(bench, lambda status: "was stuck" in status.message)  # it goes on telling
    asking.join()
    assert not answers[0].success and "SIGKILL" in answers[0].message
    masks.clear()
    bench.wait(lambda: masks, meanwhile=camera)
    assert process_of(vltp) != first


def test_a_crash_costs_one_image(bench, make_isolated, camera):
    vltp = make_isolated()
    masks = bench.listen(Image, "vltp/mask")
    bench.wait(lambda: masks, meanwhile=camera)
    request = SegmentImage.Request(image=good_image(1), tasks=["crash"])
    answer = bench.call(SegmentImage, "vltp/segment", request)
    assert not answer.success and "SIGSEGV" in answer.message
    bench.wait(lambda: vltp._model.counts.restarts)
    masks.clear()
    bench.wait(lambda: masks, meanwhile=camera)


def test_a_parameter_is_refused_while_the_model_is_gone(bench, make_isolated):
    """And not left without an answer."""
    vltp = make_isolated()
    bench.wait(lambda: state(bench) == "active")
    os.kill(process_of(vltp), signal.SIGKILL)
    (result,) = vltp.set_parameters([Parameter("rates", value=[0.3])])
    assert not result.successful and "model" in result.reason


def test_a_model_that_dies_after_it_accepted_parameters(bench, make_isolated, camera):
    """The next one works by them."""

    def kill_and_accept(_) -> SetParametersResult:
        os.kill(process_of(vltp), signal.SIGKILL)
        return SetParametersResult(successful=True)

    vltp = make_isolated(kind=Shared)
    bench.wait(lambda: state(bench) == "active")
    first = process_of(vltp)
    vltp.other = kill_and_accept
    (result,) = vltp.set_parameters([Parameter("rates", value=[0.3])])
    assert result.successful and list(vltp.get_parameter("rates").value) == [0.3]
    timings = bench.listen(InferenceTiming, "vltp/timing")
    bench.wait(lambda: timings, meanwhile=camera)
    assert process_of(vltp) != first
    np.testing.assert_allclose(timings[0].rates, [0.3, 0.3])


def test_loading_that_hangs_is_given_up_and_tried_again(bench, make_isolated, tmp_path, camera):
    once = tmp_path / "model"
    once.write_text("hang")
    make_isolated(model=str(once), load_timeout=12.0)
    told = diagnosis(bench, lambda status: "load_timeout allows 12 s" in status.message)
    assert told.level == DiagnosticStatus.ERROR
    masks = bench.listen(Image, "vltp/mask")
    bench.wait(lambda: masks, meanwhile=camera)


def test_a_crash_while_loading_is_tried_again_and_a_refusal_is_not(
    bench, make_isolated, tmp_path, camera
):
    once = tmp_path / "model"
    once.write_text("crash")
    vltp = make_isolated(model=str(once))
    diagnosis(bench, lambda status: "SIGSEGV" in status.message)
    masks = bench.listen(Image, "vltp/mask")
    bench.wait(lambda: masks, meanwhile=camera)
    assert change_state(bench, Transition.TRANSITION_DEACTIVATE)
    assert change_state(bench, Transition.TRANSITION_CLEANUP)
    once.write_text("refused")
    assert not change_state(bench, Transition.TRANSITION_CONFIGURE)
    told = diagnosis(bench, lambda status: "refused on request" in status.message)
    assert told.level == DiagnosticStatus.ERROR
    time.sleep(0.5)
    assert state(bench) == "unconfigured" and not vltp._model.is_loaded


def test_a_model_that_does_not_answer_as_it_did_is_refused_and_ended(bench, make_isolated):
    vltp = make_isolated(model="/not golden")
    told = diagnosis(bench, lambda status: "not golden any more" in status.message)
    assert told.level == DiagnosticStatus.ERROR and state(bench) == "unconfigured"
    time.sleep(0.5)
    assert not vltp._model.is_loaded  # nobody tries again: it would answer the same
    assert not [p for p in psutil.Process().children() if "vltp_ros.runtime.server" in p.cmdline()]


def test_nothing_starts_by_itself_where_a_manager_does(bench, make_isolated):
    vltp = make_isolated(autostart=False)
    assert change_state(bench, Transition.TRANSITION_CONFIGURE)
    first = process_of(vltp)
    os.kill(first, signal.SIGKILL)
    diagnosis(bench, lambda status: "SIGKILL" in status.message)
    bench.wait(lambda: state(bench) == "unconfigured")
    assert change_state(bench, Transition.TRANSITION_CONFIGURE)
    assert process_of(vltp) != first


def test_the_node_loads_in_its_own_process_where_it_is_told_to(bench, make_isolated, camera):
    vltp = make_isolated(model_process=False)
    masks = bench.listen(Image, "vltp/mask")
    bench.wait(lambda: masks, meanwhile=camera)
    assert process_of(vltp) == os.getpid()


def test_a_clock_of_a_simulation_that_never_comes_stops_no_timer(bench, make_isolated):
    make_isolated(use_sim_time=True)
    told = diagnosis(bench, lambda status: "/clock" in status.message)
    assert told.level == DiagnosticStatus.WARN
    bench.wait(lambda: state(bench) == "active")  # it may have been told before


def test_retries_come_less_and_less_often_until_a_model_has_worked_for_a_while(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    retries = Retries()
    for pause in (2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0):
        retries.given_up()
        now[0] += pause - 0.01
        assert not retries.is_due
        now[0] += 0.02
        assert retries.is_due
        retries.loaded()
        now[0] += 10
    assert retries.count == 8
    now[0] += 61
    retries.given_up()
    now[0] += 2.01
    assert retries.is_due

"""Transitions of the node: what each does, and that none of them blocks the rest."""

from __future__ import annotations

import threading

from bench import change_state, diagnosis, start, state
from diagnostic_msgs.msg import DiagnosticStatus
from fake_session import FakeSession
from lifecycle_msgs.msg import Transition
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image


def test_lifecycle(bench, vltp, camera):
    start(vltp)
    masks = bench.listen(Image, "vltp/mask")
    bench.wait(lambda: masks, meanwhile=camera)
    assert (state(bench), FakeSession.open) == ("active", 1)

    assert change_state(bench, Transition.TRANSITION_DEACTIVATE)
    masks.clear()
    for _ in range(5):
        camera()
    diagnosis(bench, lambda status: status.message == "inactive")
    assert not masks and FakeSession.open == 1

    assert change_state(bench, Transition.TRANSITION_CLEANUP)
    assert (state(bench), FakeSession.open) == ("unconfigured", 0)
    assert change_state(bench, Transition.TRANSITION_CONFIGURE)
    assert change_state(bench, Transition.TRANSITION_ACTIVATE)
    bench.wait(lambda: masks, meanwhile=camera)
    assert change_state(bench, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert (state(bench), FakeSession.open) == ("finalized", 0)


def test_a_missing_model_leaves_the_node_up(bench, vltp, monkeypatch):
    def fail(*_, **__):
        raise ValueError("/missing: not a model directory")

    monkeypatch.setattr(vltp, "_load", fail)
    assert vltp.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert state(bench) == "unconfigured"
    status = diagnosis(bench, lambda status: "/missing" in status.message)
    assert status.level == DiagnosticStatus.ERROR
    monkeypatch.setattr(vltp, "_load", FakeSession.load)
    assert vltp.trigger_configure() == TransitionCallbackReturn.SUCCESS


def test_the_node_answers_while_it_loads(bench, vltp, monkeypatch):
    gate = threading.Event()

    def load_slowly(*_, **__):
        gate.wait(20)
        return FakeSession.load("/fake")

    monkeypatch.setattr(vltp, "_load", load_slowly)
    vltp.autostart()
    status = diagnosis(bench, lambda status: "loading /fake" in status.message)
    assert status.message.startswith("configuring: ")
    assert state(bench) == "configuring"
    assert not change_state(bench, Transition.TRANSITION_CONFIGURE)
    gate.set()
    diagnosis(bench, lambda status: "no task" in status.message)
    assert state(bench) == "active"


def test_the_node_ends_while_it_loads(bench, vltp, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(vltp, "_load", lambda *_, **__: gate.wait(20) and FakeSession.load(""))
    vltp.autostart()
    bench.wait(lambda: vltp._worker is not None)
    gate.set()
    vltp.destroy_node()
    assert FakeSession.open == 0

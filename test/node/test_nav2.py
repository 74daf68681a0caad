"""The node under Nav2's lifecycle manager, whose calls and patience are those of its source.

Of Jazzy, Kilted and Lyrical: a transition may take as long as it takes; get_state is asked after
it, and has to answer within 2 s (Jazzy) or ``service_timeout``, 5 s, with the state that was
wanted, whatever change_state said. Then comes the bond, unless ``bond_timeout`` is 0.
"""

from __future__ import annotations

import time

import pytest
from fake_session import FakeSession
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from test_process import start

STATE_SECONDS = 2.0  # for get_state, the shorter one
SERVICE_SECONDS = 5.0  # for a service to be there
LOAD_SECONDS = 6.0  # longer than either

BRING_UP = (
    (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE),
    (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE),
)
SHUT_DOWN = (
    (Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_INACTIVE),
    (Transition.TRANSITION_CLEANUP, State.PRIMARY_STATE_UNCONFIGURED),
    (Transition.TRANSITION_UNCONFIGURED_SHUTDOWN, State.PRIMARY_STATE_FINALIZED),
)


class Manager:
    """Brings one node up, and shuts it down."""

    def __init__(self, bench, name="vltp"):
        self._bench = bench
        self._change = bench.node.create_client(ChangeState, f"{name}/change_state")
        self._get = bench.node.create_client(GetState, f"{name}/get_state")
        bench.wait(lambda: self._get.wait_for_service(2.0))
        bench.wait_until_answered(self._get, GetState.Request())
        no_transition = ChangeState.Request(transition=Transition(id=255))
        bench.wait_until_answered(self._change, no_transition)

    def go(self, steps) -> bool:
        return all(self._change_state(*step) for step in steps)

    def _change_state(self, transition: int, wanted: int) -> bool:
        assert self._change.wait_for_service(SERVICE_SECONDS)
        request = ChangeState.Request(transition=Transition(id=transition))
        self._bench.wait(self._change.call_async(request).done)
        assert self._get.wait_for_service(STATE_SECONDS)
        answer = self._get.call_async(GetState.Request())
        self._bench.wait(answer.done, seconds=STATE_SECONDS)
        return answer.result().current_state.id == wanted


@pytest.fixture
def slow_vltp(make_vltp, monkeypatch):
    """The node with a model that takes its time to load, left to a manager."""
    vltp = make_vltp(autostart=False)

    def load_slowly(*arguments, **options):
        time.sleep(LOAD_SECONDS)
        return FakeSession.load(*arguments, **options)

    monkeypatch.setattr(vltp._model, "_load", load_slowly)
    vltp.autostart()
    return vltp


def test_it_is_brought_up_and_shut_down(bench, slow_vltp):
    manager = Manager(bench)
    assert manager.go(BRING_UP) and FakeSession.open == 1
    assert manager.go(SHUT_DOWN) and FakeSession.open == 0


def test_it_is_brought_up_again_after_a_model_that_was_refused(bench, slow_vltp, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("/missing: not a model directory")

    manager = Manager(bench)
    with monkeypatch.context() as patch:
        patch.setattr(slow_vltp._model, "_load", refuse)
        assert not manager.go(BRING_UP)
    assert manager.go(BRING_UP)


def test_the_process_is_brought_up_and_shut_down(bench):
    process = start("vltp", "autostart:=false")
    try:
        manager = Manager(bench)
        assert manager.go(BRING_UP) and manager.go(SHUT_DOWN)
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors

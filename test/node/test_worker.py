"""The model's thread: the newest of each, all in turn, and an end under all circumstances."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest

from vltp_ros.node.worker import Inbox, Worker


class Model:
    closed = False

    def close(self):
        self.closed = True


class Work:
    def __init__(self):
        self.sessions = []

    def run(self, session):
        self.sessions.append(session)


def test_the_newest_of_each_source_and_all_in_turn():
    inbox = Inbox()
    left, right = inbox.slot(), inbox.slot()
    for number in range(3):
        assert left.put(f"left {number}") == (number > 0)
        inbox.queue(f"job {number}")
    assert not right.put("right 0")
    taken = [inbox.take() for _ in range(3)]
    left.put("left 3")
    taken += [inbox.take() for _ in range(3)]
    assert taken == ["left 2", "right 0", "job 0", "left 3", "job 1", "job 2"]


def test_clearing_keeps_what_somebody_waits_for():
    inbox = Inbox()
    inbox.slot().put("image")
    inbox.queue("job")
    inbox.clear()
    assert inbox.take() == "job"


def test_a_worker_answers_and_frees_the_model():
    model, work = Model(), Work()
    worker = Worker(lambda: model)
    assert worker.session() is model
    assert worker.ask(lambda session: session is model).result(10)
    with pytest.raises(ZeroDivisionError):
        worker.ask(lambda session: 1 / 0).result(10)
    slot = worker.slot()
    slot.put(work)
    assert worker.ask(lambda session, number: number, 7).result(10) == 7
    assert worker.stop(10) and model.closed and work.sessions == [model]
    assert slot.is_closed and not slot.put(work) and not slot.put(work)
    with pytest.raises(CancelledError):
        worker.ask(lambda session: None).result(10)


def test_stopping_releases_everybody_who_waits_for_stuck_work():
    model, gate = Model(), threading.Event()
    worker = Worker(lambda: model)
    stuck, waiting = worker.ask(lambda session: gate.wait(30)), worker.ask(lambda session: 1)
    while not worker.busy_seconds:
        gate.wait(0.01)
    assert not worker.stop(patience=0.01) and not model.closed
    with pytest.raises(CancelledError):
        waiting.result(10)
    gate.set()
    assert stuck.result(10) and worker.stop(10) and model.closed


def test_stopping_releases_who_waits_for_loading():
    model, gate = Model(), threading.Event()
    worker = Worker(lambda: gate.wait(30) and model)
    assert not worker.stop(patience=0.01)
    with pytest.raises(CancelledError):
        worker.session()
    gate.set()
    assert worker.stop(10) and model.closed


def test_a_failure_to_load_is_told():
    worker = Worker(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        worker.session()
    assert worker.stop(10)

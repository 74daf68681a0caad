"""The model's thread: the newest of each, all in turn, and an end under all circumstances."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest

from vltp_ros.node.worker import ANSWERS_THREAD, MODEL_THREAD, Inbox, Worker


class Model:
    closed = False

    def __init__(self, gpu_memory_mib=None):
        self.gpu_memory_mib = gpu_memory_mib

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


class Split:
    """Leaves a rest, which waits for a gate."""

    def __init__(self, name, done, gate):
        self.name, self.done, self.gate = name, done, gate
        self.began = threading.Event()

    def run(self, session):
        self.began.set()
        return self.rest

    def rest(self):
        self.gate.wait(30)
        self.done.append((self.name, threading.current_thread().name))


def test_what_is_left_of_work_is_done_in_order_while_a_gpu_goes_on():
    done, gate = [], threading.Event()
    model = Model(gpu_memory_mib=100.0)
    worker = Worker(lambda: model)
    first, second = worker.slot(), worker.slot()
    first.put(Split("first", done, gate))
    assert worker.ask(lambda session: "free").result(10) == "free" and not done
    waiting = Split("second", done, gate)  # its rest waits for the first one's, the model for it
    second.put(waiting)
    assert waiting.began.wait(10)
    later = worker.ask(lambda session: list(done))
    assert not worker.stop(patience=0.05) and not model.closed
    gate.set()
    assert worker.stop(10) and model.closed and later.cancelled()
    assert done == [("first", ANSWERS_THREAD), ("second", ANSWERS_THREAD)]


def test_beside_a_model_on_the_cpu_nothing_else_is_done():
    done, gate = [], threading.Event()
    gate.set()
    worker = Worker(Model)
    worker.slot().put(Split("rest", done, gate))
    assert worker.ask(lambda session: list(done)).result(10) == [("rest", MODEL_THREAD)]
    assert worker.stop(10)


def test_stopping_releases_everybody_who_waits_for_stuck_work():
    model, gate = Model(), threading.Event()
    worker = Worker(lambda: model)
    began = threading.Event()
    stuck = worker.ask(lambda session: began.set() or gate.wait(30))
    waiting = worker.ask(lambda session: 1)
    assert began.wait(10) and worker.busy_seconds > 0
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

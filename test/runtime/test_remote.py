"""A session in a process of its own: the same answers, and faults that stay there."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from vltp_ros.paths import default_model
from vltp_ros.runtime.checks import NotFiniteError
from vltp_ros.runtime.exchange import Exchange, SharedMemory
from vltp_ros.runtime.remote import RemoteSession
from vltp_ros.runtime.session import Session
from vltp_ros.runtime.settings import InferenceSettings

FAULTY = "faulty_session:FaultySession.load"
IMAGE = np.zeros((48, 64, 3), np.uint8)
IMAGE[10:20, 30:50, 0] = 200


@pytest.fixture
def session():
    session = RemoteSession(FAULTY)
    session.load("/nothing")
    yield session
    session.close()


def test_answers_are_those_of_a_session_in_this_process():
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    tasks = ["cut bread", "drive a nail"]
    settings = InferenceSettings(rates=(0.5,), runner="eager")
    here, there = Session.load(default_model(), runner="eager"), RemoteSession()
    threads = torch.get_num_threads()
    there.load(str(default_model()), device="cpu", threads=threads, runner="eager")
    try:
        assert (there.name, there.device_name) == (here.name, here.device_name)
        for session in (here, there):
            session.configure(settings)
            session.warm_up()
        answers = there.segment(image, tasks, stamp=1.0)
        there.segment(image[::-1], tasks, stamp=2.0)  # what was answered before stays as it was
        for ours, theirs in zip(here.segment(image, tasks, stamp=1.0), answers, strict=True):
            np.testing.assert_allclose(ours.levels.astype(int), theirs.levels, atol=2)
            assert (ours.mask != theirs.mask).mean() < 0.01
            assert (ours.task, ours.rates, ours.tokens) == (
                theirs.task,
                theirs.rates,
                theirs.tokens,
            )
            assert ours.score == pytest.approx(theirs.score, abs=0.01)
            assert [kept.shape for kept in ours.kept] == [kept.shape for kept in theirs.kept]
    finally:
        here.close()
        there.close()


def test_images_of_any_size_and_layout_arrive(session):
    rng = np.random.default_rng(0)
    for height, width in ((2, 3), (480, 640), (1, 1), (1080, 1920), (7, 5)):
        image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        for view in (image, image[::-1, ::-1], image[..., ::-1]):
            answer, other = session.segment(view, ["a", "b"], stamp=3.0)
            np.testing.assert_array_equal(answer.mask, view[..., 0] > 127)
            np.testing.assert_array_equal(other.levels, 255 * (view[..., 0] > 127))
            assert (other.task, other.seg_age_s, other.tokens) == ("b", 3.0, (4,))
    assert session.missed_deadlines == 15 and session.gpu_memory_mib == 1.5
    assert session.segment(IMAGE, []) == []


def test_errors_are_raised_here_and_the_process_lives_on(session):
    for task, kind, text in (
        ("refused", ValueError, "^refused on request$"),
        ("not finite", NotFiniteError, "^NaN on request$"),
        ("unknown error", RuntimeError, "^UnknownError: never heard of$"),
    ):
        with pytest.raises(kind, match=text):
            session.segment(IMAGE, [task])
    with pytest.raises(ValueError, match="rates"):
        session.configure(InferenceSettings(rates=(0.1, 0.2, 0.3)))
    assert session.refusal("refuse me") and not session.refusal("cut bread")
    assert session.segment(IMAGE, ["cut bread"])[0].area == 200 and not session.fault
    with pytest.raises(RuntimeError, match="lost on request"):
        session.segment(IMAGE, ["lost device"])
    assert session.fault == "no device is lost"


@pytest.mark.parametrize(
    ("fault", "text"),
    [("crash", "was ended by SIGSEGV"), ("exit", "ended with status 3")],
)
def test_a_process_that_ends_is_an_error(session, fault, text):
    for _ in range(2):
        with pytest.raises(RuntimeError, match=f"the model's process {text}"):
            session.segment(IMAGE, [fault])
    assert text in session.fault


def test_a_process_that_ends_while_nothing_is_asked_is_noticed(session):
    os.kill(int(session.name.split()[1]), signal.SIGKILL)
    wait_until(lambda: session.fault == "the model's process was ended by SIGKILL")


@pytest.mark.parametrize("fault", ["hang", "hold the lock"])
def test_whatever_it_does_it_can_be_killed(session, fault):
    raised = []

    def ask():
        with pytest.raises(RuntimeError, match="SIGKILL") as error:
            session.segment(IMAGE, [fault])
        raised.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.1)
    assert asking.is_alive()
    session.kill()
    asking.join(10)
    assert raised


@pytest.mark.parametrize(
    ("model", "kind", "text"),
    [
        ("/refused", ValueError, "refused on request"),
        ("/exit", RuntimeError, "the model's process ended with status 3"),
        ("/crash", RuntimeError, "SIGSEGV"),
    ],
)
def test_loading_fails_as_it_does_here(model, kind, text):
    session = RemoteSession(FAULTY)
    with pytest.raises(kind, match=text):
        session.load(model)
    session.close()


def test_one_that_is_killed_before_it_starts_never_loads():
    session = RemoteSession(FAULTY)
    session.kill()
    with pytest.raises(RuntimeError, match="SIGKILL"):
        session.load("/hang")
    session.close()


def test_signals_that_reach_the_whole_group_leave_the_model_to_the_node(session):
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(int(session.name.split()[1]), number)
    assert session.segment(IMAGE, ["cut bread"])[0].area == 200


def test_nothing_is_left_when_the_node_is_killed_in_the_middle_of_an_image(tmp_path):
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import numpy as np
from vltp_ros.runtime.remote import RemoteSession
session = RemoteSession({FAULTY!r}).load("/nothing")
print(session.name.split()[1], flush=True)
session.segment(np.zeros((9, 9, 3), np.uint8), ["hold the lock"])
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    model = int(process.stdout.readline())
    time.sleep(0.2)
    process.kill()
    process.wait()
    process.stdout.close()
    wait_until(lambda: not is_running(model))


def test_descriptors_do_not_grow():
    def count():
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for _ in range(3):
        session = RemoteSession(FAULTY).load("/nothing")
        session.segment(IMAGE, ["cut bread"])
        session.close()
        session.close()
        with pytest.raises(RuntimeError, match="closed"):
            session.segment(IMAGE, ["cut bread"])
        for model in ("/refused", "/crash"):
            with pytest.raises((ValueError, RuntimeError)):
                RemoteSession(FAULTY).load(model)
    assert count() == before


def test_what_is_sent_arrives_and_holds_where_it_is_copied():
    near, far = multiprocessing.Pipe()
    one, two = SharedMemory.new(), SharedMemory.new()
    others = [SharedMemory(os.dup(memory.descriptor)) for memory in (two, one)]
    sender, receiver = Exchange(near, one, two), Exchange(far, *others)
    arrays = [np.arange(12, dtype=np.float32).reshape(3, 4), np.ones((0, 3), bool)]
    arrays += [arrays[0][:, ::2], np.array([True, False])]
    copied = None
    for scale in (1, 2):
        message = {"scale": scale, "arrays": [array * scale for array in arrays]}
        sender.send(message)
        got = receiver.receive(copy=scale == 1)
        copied = copied or got
        for sent, array in zip(message["arrays"], got["arrays"], strict=True):
            np.testing.assert_array_equal(sent, array)
            assert sent.dtype == array.dtype
    np.testing.assert_array_equal(copied["arrays"][0], arrays[0])
    sender.close()
    with pytest.raises(EOFError):
        receiver.receive()
    receiver.close()


def is_running(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition(), f"not within {seconds} s"

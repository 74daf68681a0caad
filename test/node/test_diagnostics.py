"""What the diagnostics warn of, by the limits that the parameters set."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from bench import values
from diagnostic_msgs.msg import DiagnosticStatus
from fake_session import FakeSession
from rclpy.logging import get_logger

from vltp_ros.node.config import NodeConfig
from vltp_ros.node.diagnostics import CameraHealth, Health, ModelCounts
from vltp_ros.node.model import Loading
from vltp_ros.paths import default_model
from vltp_ros.runtime.caveat import caveat_of
from vltp_ros.types import Segmentation

OK, WARN, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.STALE


def camera_status(health: CameraHealth, **limits) -> tuple[bytes, str]:
    status = health.status("/vltp", True, NodeConfig(**limits), 0, "")
    assert status.name == "/vltp: image"
    return status.level, status.message


def test_a_camera_s_limits(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    health = CameraHealth("image")
    assert camera_status(health) == (WARN, "no image yet")
    for dropped in (False, True, False, False):
        now += 0.5
        health.arrival(dropped)
    assert camera_status(health) == (OK, "receiving")
    assert camera_status(health, min_input_rate=1.9) == (OK, "receiving")
    assert camera_status(health, min_input_rate=2.1) == (WARN, "2.0 images a second")
    assert camera_status(health, max_dropped=0.2) == (WARN, "25% of the images dropped or lost")
    lossy = health.status("/vltp", True, NodeConfig(), 8, "")
    assert (lossy.level, lossy.message) == (WARN, "75% of the images dropped or lost")
    now += 3.0
    assert camera_status(health) == (STALE, "no image for 3.0 s")
    assert camera_status(health, max_input_age=0.0) == (OK, "receiving")
    assert health.status("/vltp", False, NodeConfig(), 0, "").message == "inactive"


def node_status(health: Health, memory: float | None = None, **limits) -> DiagnosticStatus:
    return health.status("/vltp", 1, True, ModelCounts(memory), NodeConfig(**limits))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, "active"),
        ({"max_latency_p50": 0.2}, "active"),
        ({"max_latency_p50": 0.05}, "age at publication: p50 0.100 s"),
        ({"max_latency_p99": 0.5}, "age at publication: p99 0.852 s"),
        ({"max_gpu_memory": 1000.0}, "1234 MiB of GPU memory"),
        ({"max_gpu_memory": 2000.0}, "active"),
    ],
)
def test_the_node_s_limits(limits, message):
    health = Health(get_logger("test"))
    health.enter("active")
    for milliseconds in (100.0, 100.0, 100.0, 900.0, 100.0, 100.0, 100.0):
        health.answer({"encode": 50.0, "latency": milliseconds})
    status = node_status(health, 1234.0, **limits)
    assert (status.message, status.level) == (message, OK if message == "active" else WARN)
    assert values(status)["GPU memory (MiB)"] == "1234"
    assert values(status)["encode p50/p99 (ms)"] == "50.0/50.0"


def test_loading_says_that_a_model_knows_no_photographs(monkeypatch):
    health, said = Health(get_logger("test")), []
    monkeypatch.setattr(health, "report", said.append)
    Loading(FakeSession.load, NodeConfig(), health)().close()
    caveat, loading, *_ = said
    assert caveat == caveat_of(default_model()) and loading == f"loading {default_model()}"


def test_progress_and_failure():
    health = Health(get_logger("test"))
    health.enter("configuring", "loading /model")
    assert node_status(health).message == "configuring: loading /model, 0 s"
    health.fail("model not loaded")
    health.warn("a goal was refused")
    assert node_status(health).level == DiagnosticStatus.ERROR
    assert node_status(health).message == "model not loaded"
    health.enter("configuring")
    assert node_status(health).level == WARN
    assert "GPU memory (MiB)" not in values(node_status(health))


def test_words_that_the_model_never_saw_are_logged_once(monkeypatch):
    health, said = Health(get_logger("test")), []
    monkeypatch.setattr(health, "_logger", SimpleNamespace(warning=said.append))
    mask = np.zeros((2, 2), bool)
    strange = Segmentation.certain("asdf bread", mask, unseen_words=("asdf",))
    for _ in range(3):
        health.doubt([strange, Segmentation.certain("cut bread", mask)])
    assert len(said) == 1 and "task 'asdf bread': the model saw no 'asdf' in training" in said[0]

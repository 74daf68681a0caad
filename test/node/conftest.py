"""What the tests of the ROS nodes share: a network of their own, and a node with a fake model."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for bench and fake_session


def pytest_pycollect_makemodule():
    """Skip the modules here where what they import is missing."""
    pytest.importorskip("rclpy", reason="rclpy is missing: run `make test`")
    pytest.importorskip("vltp_ros.msg", reason="the messages are not built: run `make test`")


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.requires_ros)


@pytest.fixture
def bench(monkeypatch):
    """On a domain of its own: rclpy lets go of a node's services some time after its end."""
    import rclpy
    from bench import Bench

    from vltp_ros.rig.processes import free_domain

    with free_domain() as domain:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
        monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        rclpy.init()
        bench = Bench()
        yield bench
        bench.close()
        rclpy.try_shutdown()


@pytest.fixture
def make_vltp(bench):
    """Makes the node with the fake session, unconfigured, with parameters as given."""
    from fake_session import FakeSession
    from rclpy.parameter import Parameter

    from vltp_ros.node.node import THREADS, VltpNode

    def make(**values):
        options = [Parameter(name, value=value) for name, value in values.items()]
        options.append(Parameter("model", value="/fake"))
        return bench.add(VltpNode(FakeSession.load, parameter_overrides=options), THREADS)

    FakeSession.open = 0
    FakeSession.released.clear()
    yield make
    FakeSession.released.set()


@pytest.fixture
def vltp(make_vltp):
    """The node with the fake session and default parameters, unconfigured."""
    return make_vltp()


@pytest.fixture
def vision(request, monkeypatch):
    """The messages of a package that stands in for vision_msgs."""
    import vision_package

    vision_package.use(vision_package.build(request.config.cache.mkdir("vision_msgs")), monkeypatch)
    return import_module("vision_msgs.msg")


@pytest.fixture
def camera(bench):
    """Publishes good images on ``image``."""
    from bench import Camera

    return Camera(bench)

"""Time that is a simulation's or a bag's: absent, slow, paused, and jumping back."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from bench import Camera, good_image, start
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from test_asking import Search
from test_depth import INFO, depth_message

from vltp_ros.imaging.images import ConversionError
from vltp_ros.msg import InferenceTiming
from vltp_ros.node import action
from vltp_ros.node.depth import DepthInput

STEP = 0.05  # real seconds between messages on /clock


class Simulation:
    """Publishes /clock: so many seconds in each real one, from ``begin``, over again at ``end``."""

    def __init__(self, bench, speed=1.0, begin=100.0, end=float("inf")):
        self.now, self.speed, self.jumps = begin, speed, 0
        self._begin, self._end, self._over = begin, end, threading.Event()
        self._publisher = bench.node.create_publisher(Clock, "/clock", 10)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._over.wait(STEP):
            self.now += self.speed * STEP
            if self.now > self._end:
                self.now, self.jumps = self._begin, self.jumps + 1
            clock = Time(nanoseconds=int(1e9 * self.now)).to_msg()
            self._publisher.publish(Clock(clock=clock))

    def end(self):
        self._over.set()
        self._thread.join()


@pytest.fixture
def simulate(bench):
    simulations = []

    def start_clock(**options) -> Simulation:
        simulations.append(Simulation(bench, **options))
        return simulations[-1]

    yield start_clock
    for simulation in simulations:
        simulation.end()


@pytest.fixture
def simulated(bench, make_vltp, simulate):
    """Makes the node that lives in a simulation, once it has its time."""

    def make(parameters=None, **options):
        vltp = make_vltp(use_sim_time=True, **parameters or {})
        simulation = simulate(**options)
        bench.wait(lambda: vltp.get_clock().now().nanoseconds)
        start(vltp)
        return vltp, simulation

    return make


def search(bench, **goal):
    """A search that never finds what it looks for."""
    return Search(bench, min_score=0.9, **goal)


def test_without_a_clock_a_search_ends_by_real_time(bench, make_vltp):
    start(make_vltp(use_sim_time=True))
    status, result = search(bench, timeout=1.0).answer()
    assert status == GoalStatus.STATUS_ABORTED and result.seconds >= 1.0
    assert "no 3 masks agreed within 1 s, real ones: use_sim_time" in result.message
    assert "/clock" in result.message


def test_a_clock_that_comes_late_ends_no_search(bench, make_vltp, simulate):
    start(make_vltp(use_sim_time=True))
    looking = search(bench, timeout=3.0)
    simulate(begin=1.7e9)
    status, result = looking.answer()
    assert status == GoalStatus.STATUS_ABORTED and 3.0 <= result.seconds < 30.0
    assert result.message == "no 3 masks agreed within 3 s"


def test_a_search_in_a_slow_simulation_has_its_time(bench, simulated):
    simulated(speed=0.25)
    began = time.monotonic()
    status, result = search(bench, timeout=1.0).answer()
    assert status == GoalStatus.STATUS_ABORTED and result.message == "no 3 masks agreed within 1 s"
    assert 1.0 <= result.seconds < 2.0 and time.monotonic() - began > 3.0


def test_a_search_in_a_paused_simulation_waits_and_can_be_cancelled(bench, simulated):
    _, simulation = simulated()
    looking = search(bench, timeout=1.0)
    simulation.speed = 0.0
    time.sleep(2.0)
    bench.wait(looking.handle.cancel_goal_async().done)
    status, result = looking.answer()
    assert status == GoalStatus.STATUS_CANCELED and result.message == "cancelled"
    assert result.seconds < 1.0


def test_a_search_in_a_simulation_that_stays_paused_ends(bench, simulated, monkeypatch):
    monkeypatch.setattr(action, "STILL_SECONDS", 1.0)
    _, simulation = simulated()
    simulation.speed = 0.0
    status, result = search(bench, timeout=100.0).answer()
    assert status == GoalStatus.STATUS_ABORTED
    assert result.message == "the time on /clock has stood still for 1 s"


def test_a_search_while_a_bag_begins_again_and_again_has_its_time(bench, simulated):
    _, simulation = simulated(end=101.0)
    status, result = search(bench, timeout=2.5).answer()
    assert status == GoalStatus.STATUS_ABORTED and simulation.jumps >= 2
    assert 2.5 <= result.seconds < 5.0


def test_images_are_answered_after_the_time_has_jumped_back(bench, simulated):
    parameters = {"max_image_age": 5.0, "reuse_max_age": 1.0}
    _, simulation = simulated(parameters, begin=100.0, end=110.0, speed=4.0)
    timings = bench.listen(InferenceTiming, "vltp/timing")

    def image(_) -> Image:
        message = good_image(0)
        message.header.stamp = Time(nanoseconds=int(1e9 * simulation.now)).to_msg()
        return message

    camera = Camera(bench, make=image)

    def jumped_back() -> int:
        stamps = [timing.header.stamp.sec for timing in timings]
        return sum(one > other for one, other in pairwise(stamps))

    bench.wait(lambda: jumped_back() >= 2, meanwhile=camera)


def test_depth_of_the_run_before_is_no_depth_of_this_one(bench):
    depth = DepthInput(bench.node, "", SimpleNamespace(warn=print))
    depth._take_info(INFO)
    for metres, stamp in ((1.0, 100), (1.0, 103), (2.0, 90)):
        image = depth_message(np.full((3, 4), metres, np.float32))
        image.header.stamp.sec = stamp
        depth._take_image(image)
    header = Header()
    header.stamp.sec = 103
    with pytest.raises(ConversionError, match="no depth within"):
        depth.of(("depth", "camera_info"), header, 0.1)
    header.stamp.sec = 90
    assert (depth.of(("depth", "camera_info"), header, 0.1).depth[:] == 2.0).all()

"""Things that keep their number."""

from __future__ import annotations

import numpy as np
import pytest

from vltp_ros.imaging.instances import Instance
from vltp_ros.imaging.tracking import MEMORY_IMAGES, MEMORY_SECONDS, Tracker


def at(x: float, y: float, width: int = 20, height: int = 20) -> Instance:
    mask = np.ones((height, width), bool)
    box = (int(x), int(y), width, height)
    return Instance(mask, box, (x + width / 2, y + height / 2), mask.size, 0.9, (), 0)


class Camera:
    """One task's instances, ten images a second."""

    def __init__(self):
        self.tracker, self.seconds = Tracker(), 0.0

    def __call__(self, *instances: Instance, passed: float = 0.1) -> tuple[int, ...]:
        self.seconds += passed
        followed = self.tracker.update({"cut": instances}, self.seconds)["cut"]
        return tuple(instance.track for instance in followed)


def test_things_keep_their_numbers_whatever_their_order():
    see = Camera()
    assert see(at(0, 0), at(100, 0)) == (1, 2)
    assert see(at(101, 1), at(2, 1)) == (2, 1)
    assert see(at(3, 1), at(200, 0), at(102, 1)) == (1, 3, 2)


def test_a_thing_that_left_its_box_is_found():
    """It moves by more than its width; a second one, as far off, is another."""
    see = Camera()
    assert see(at(0, 0)) == (1,)
    assert see(at(25, 0)) == (1,)
    assert see(at(50, 0)) == (1,)
    assert see(at(78, 0), at(10, 0)) == (1, 2)


def test_moving_things_that_pass_each_other_keep_their_numbers():
    see = Camera()
    seen = [see(at(10 * i, 0), at(200 - 10 * i, 12)) for i in range(20)]
    assert set(seen) == {(1, 2)}


def test_a_thing_that_was_hidden_comes_back():
    see = Camera()
    assert see(at(0, 0)) == (1,)
    for _ in range(MEMORY_IMAGES):
        assert see() == ()
    assert see(at(2, 0)) == (1,)
    for _ in range(MEMORY_IMAGES + 1):
        see(passed=MEMORY_SECONDS)
    assert see(at(2, 0)) == (2,)


def test_a_slow_node_forgets_nothing_by_the_clock_alone():
    see = Camera()
    assert see(at(0, 0)) == (1,)
    assert see(passed=10 * MEMORY_SECONDS) == ()
    assert see(at(0, 0), passed=10 * MEMORY_SECONDS) == (1,)


def test_a_recording_that_begins_anew_has_new_things():
    see = Camera()
    assert see(at(0, 0)) == (1,)
    assert see(at(0, 0), passed=-5.0) == (2,)
    assert see(at(0, 0), passed=0.0) == (2,)


def test_tasks_have_things_of_their_own():
    tracker = Tracker()
    both = {"cut": [at(0, 0)], "pour": [at(0, 0), at(90, 0)]}
    followed = tracker.update(both, 0.0)
    assert [[i.track for i in followed[task]] for task in both] == [[1], [2, 3]]
    assert tracker.update({"pour": both["pour"]}, 0.1)["pour"][1].track == 3
    assert tracker.update(both, 0.2)["cut"][0].track == 4  # it was no task meanwhile


@pytest.mark.parametrize("seed", range(3))
def test_a_shaking_camera(seed):
    """Five things apart from each other, in any order, in jitter of half their size."""
    random, see = np.random.default_rng(seed), Camera()
    places = np.array([(60 * i, 40 * (i % 2)) for i in range(5)])
    first = see(*(at(x, y) for x, y in places))
    for _ in range(30):
        order = random.permutation(5)
        shaken = places + random.integers(-10, 11, 2)
        assert see(*(at(x, y) for x, y in shaken[order])) == tuple(first[i] for i in order)

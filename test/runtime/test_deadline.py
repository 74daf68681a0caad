"""Which work is left out to meet a deadline, on a machine whose speed a test decides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders import tiny_model

from vltp_ros.network.config import ModelConfig, PruningConfig
from vltp_ros.runtime.deadline import DeadlineConfig, Planner, ladder
from vltp_ros.runtime.session import Session
from vltp_ros.runtime.settings import InferenceSettings

CONFIG = ModelConfig(pruning=PruningConfig((6, 9), (0.5, 0.5)))


def settings(milliseconds, own=None, **limits):
    deadline = DeadlineConfig(milliseconds, **limits)
    return InferenceSettings(deadline=deadline, **(own or {})).for_model(CONFIG)


class Machine:
    """Says how long an image takes with some settings."""

    def __init__(self, side_by_side=False):
        self.slowness, self.side_by_side = 1.0, side_by_side
        self.llava = {"off": 100.0, "65": 50.0, "70": 45.0}  # milliseconds with each preset

    def run(self, planner, images=1):
        """Segment some images, and return what was chosen for the last and how long it took."""
        for _ in range(images):
            choice = planner.pick()
            reused = choice.reuse.max_age > 0
            reasoner = 0.0 if reused else self.llava[choice.csp]
            times = {
                "reasoner": reasoner * self.slowness,
                "stem": 40.0 * self.slowness,
                "pruned blocks": 60.0 * (1 - choice.rates[0]) * self.slowness,
                "mask decoder": 10.0 * self.slowness,
            }
            total = sum(times.values())
            if self.side_by_side:
                total -= min(times["reasoner"], times["stem"])
            planner.observe(times, total, reused)
        return choice, total


@pytest.fixture(params=[False, True], ids=["in turns", "side by side"])
def machine(request):
    return Machine(request.param)


def planner_of(machine, milliseconds, **limits):
    return Planner(settings(milliseconds, **limits), machine.side_by_side)


def test_without_a_deadline_nothing_is_given_up(machine):
    machine.slowness = 100
    planner = planner_of(machine, 0)
    choice, _ = machine.run(planner, 20)
    assert choice == planner.choices[0] and planner.missed == 0


def test_what_fits_is_left_as_it_is(machine):
    planner = planner_of(machine, 1000)
    assert machine.run(planner, 20)[0].csp == "off" and planner.missed == 0


def test_a_deadline_is_met_with_as_much_work_as_fits(machine):
    planner = planner_of(machine, 125)
    choice, total = machine.run(planner, 20)
    assert total <= 125 and planner.missed <= 3
    assert (choice.csp, choice.rates) == (
        ("65", (0.5, 0.5)) if machine.side_by_side else ("70", (0.5, 0.5))
    )


def test_slowness_is_noticed_and_so_is_its_end(machine):
    planner = planner_of(machine, 200)
    assert machine.run(planner, 20)[0].csp == "off"
    machine.slowness = 1.6
    choice, total = machine.run(planner, 20)
    assert total <= 200 and choice.csp != "off" and planner.missed < 6
    machine.slowness = 1.0
    choice, total = machine.run(planner, 20)
    assert (choice.csp, choice.rates) == ("off", (0.5, 0.5)) and total <= 200


def test_it_settles_instead_of_going_up_and_down(machine):
    planner = planner_of(machine, 125)
    machine.run(planner, 20)
    assert len({machine.run(planner)[0].csp for _ in range(20)}) == 1


def test_never_less_than_the_limits_allow_and_misses_are_counted(machine):
    planner = planner_of(machine, 10, max_rate=0.7, max_csp="65")
    choice, total = machine.run(planner, 20)
    assert (choice.csp, choice.rates) == ("65", (0.7, 0.7)) and choice.reuse.max_age == 0
    assert total > 10 and planner.missed == 20


def test_embeddings_are_reused_last_and_only_where_that_is_allowed(machine):
    planner = planner_of(machine, 64, max_seg_age=0.5)
    choice, total = machine.run(planner, 20)
    assert choice.reuse.max_age == 0.5 and total <= 64


def test_the_users_own_settings_are_where_it_starts():
    own = {"rates": (0.8,), "csp": "70"}
    assert ladder(settings(100, own)) == [settings(100, own)]
    steps = [(c.csp, c.rates[0]) for c in ladder(settings(100, {"rates": (0.7,), "csp": "65"}))]
    assert steps == [("65", 0.7), ("70", 0.7), ("70", 0.8)]


@pytest.mark.parametrize(
    "limits", [{"max_latency_ms": -1.0}, {"max_rate": 1.0}, {"max_csp": "80"}, {"max_seg_age": -1}]
)
def test_impossible_limits_are_refused(limits):
    (name,) = limits
    with pytest.raises(ValueError, match=f"{name} is"):
        DeadlineConfig(**limits)


def test_a_session_says_what_it_chose_and_how_often_it_was_late():
    deadline = DeadlineConfig(1e-3, max_rate=0.8, max_csp="65")  # nothing is so fast
    session = Session(tiny_model(), torch.device("cpu"), InferenceSettings(deadline=deadline))
    image = np.zeros((90, 120, 3), np.uint8)
    results = [session.segment(image, ["drink"])[0] for _ in range(3)]
    assert (results[0].csp, results[0].rates) == ("off", (0.5, 0.5))
    assert (results[-1].csp, results[-1].rates) == ("65", (0.8, 0.8))
    assert results[-1].tokens == (20, 20) and session.missed_deadlines == 3
    session.configure(InferenceSettings())
    assert session.segment(image, ["drink"])[0].csp == "off" and session.missed_deadlines == 0

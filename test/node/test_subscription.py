"""What a subscription makes of messages that come and that get lost."""

from __future__ import annotations

import types

import pytest

from vltp_ros.node import subscription
from vltp_ros.node.subscription import RECENT_SECONDS, SILENCE_SECONDS, Tally


@pytest.fixture
def clock(monkeypatch):
    """Time that stands still until a test moves it."""
    clock = types.SimpleNamespace(now=100.0)
    monkeypatch.setattr(subscription, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_a_publisher_is_silent_until_its_first_message(clock):
    tally = Tally()
    assert not tally.is_silent
    clock.now += SILENCE_SECONDS + 0.1
    assert tally.is_silent
    tally.add(received=1, lost=0)
    clock.now += 10 * SILENCE_SECONDS
    assert not tally.is_silent


def test_a_few_losses_are_none_and_old_ones_are_forgotten(clock):
    tally = Tally()
    tally.add(received=0, lost=4)
    assert not tally.is_lossy
    tally.add(received=12, lost=1)
    assert tally.is_lossy and tally.counts == (12, 5)
    tally.add(received=8, lost=0)
    assert not tally.is_lossy  # 5 of 25 are below a quarter
    tally.add(received=0, lost=20)
    assert tally.is_lossy
    clock.now += RECENT_SECONDS + 0.1
    tally.add(received=1, lost=0)
    assert not tally.is_lossy and tally.counts == (1, 0)


def test_a_driver_that_starts_to_lose_after_an_hour_is_noticed(clock):
    tally = Tally()
    for _ in range(3600):
        tally.add(received=10, lost=0)
        clock.now += 1.0
    for _ in range(10):
        tally.add(received=2, lost=8)
        clock.now += 1.0
    assert tally.is_lossy

"""Callbacks in several threads: each runs once, and beside the others."""

from __future__ import annotations

import threading

from bench import Camera
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from sensor_msgs.msg import Image

from vltp_ros.node import executor
from vltp_ros.node.qos import NEWEST

MESSAGES = 30


def listener(bench, group, receive):
    """Another node, in threads of its own."""
    import rclpy

    node = rclpy.create_node("listener")
    node.create_subscription(Image, "image", receive, NEWEST, callback_group=group)
    return bench.add(node, threads=4)


def test_a_callback_is_handed_to_the_threads_once(bench, monkeypatch):
    submitted, received = [], []
    submit = executor._Pool.submit
    monkeypatch.setattr(
        executor._Pool, "submit", lambda pool, work: submitted.append(work) or submit(pool, work)
    )
    listener(bench, MutuallyExclusiveCallbackGroup(), received.append)
    camera = Camera(bench)
    bench.wait(lambda: len(received) >= MESSAGES, meanwhile=camera)
    # A few more: a thread may have begun, and not yet said so. rclpy's own makes it thousands.
    assert len(set(submitted)) >= MESSAGES
    assert len(submitted) <= 2 * len(set(submitted))


def test_one_callback_waits_while_others_run(bench):
    both = threading.Barrier(2, timeout=10)
    groups = [MutuallyExclusiveCallbackGroup() for _ in range(2)]
    passed = []

    def meet(message):
        both.wait()
        passed.append(message)

    node = listener(bench, groups[0], meet)
    node.create_subscription(Image, "image", meet, NEWEST, callback_group=groups[1])
    bench.wait(lambda: len(passed) >= 2, meanwhile=Camera(bench))


def test_shutting_down_does_not_wait_for_a_free_thread(bench):
    release, busy = threading.Event(), []

    def block(message):
        busy.append(message)
        release.wait(30)

    groups = [MutuallyExclusiveCallbackGroup() for _ in range(4)]
    node = listener(bench, groups[0], block)
    for group in groups[1:]:
        node.create_subscription(Image, "image", block, NEWEST, callback_group=group)
    node.create_subscription(
        Image, "image", block, NEWEST, callback_group=MutuallyExclusiveCallbackGroup()
    )
    bench.wait(lambda: len(busy) == 4, meanwhile=Camera(bench))
    spinning = node.executor
    assert isinstance(spinning, MultiThreadedExecutor)
    done = threading.Thread(target=spinning.shutdown, kwargs={"timeout_sec": 0.5})
    done.start()
    release.set()
    done.join(10)
    assert not done.is_alive()

"""What a test of a node works at: another node that sends and listens."""

from __future__ import annotations

import threading
import time

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from vltp_ros.node.conversions import to_image
from vltp_ros.node.executor import ThreadsExecutor
from vltp_ros.node.process import spin
from vltp_ros.node.qos import NEWEST

PIXELS = np.zeros((48, 64, 3), np.uint8)
PIXELS[10:20, 30:50, 0] = 200


def good_image(second: int, frame_id: str = "eye") -> Image:
    """PIXELS with the given stamp."""
    header = Header(frame_id=frame_id)
    header.stamp.sec = second
    return to_image(PIXELS, header)


class Bench:
    """A node that sends and listens, and nodes under test, all spinning in threads.

    The two sides are DDS participants of their own, as they are when they are processes.
    """

    def __init__(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("test", context=self.context)
        self._spinning, self._clients = [], {}
        self.add(self.node)

    def add(self, node, threads=1):
        """Spin ``node`` until the end of the test."""
        if threads == 1:
            executor = SingleThreadedExecutor(context=node.context)
        else:
            executor = ThreadsExecutor(threads, context=node.context)
        executor.add_node(node)
        thread = threading.Thread(target=spin, args=(executor,))
        thread.start()
        self._spinning.append((executor, thread, node))
        return node

    def listen(self, kind, topic, quality=10) -> list:
        """The list that messages on ``topic`` are added to."""
        received = []
        self.node.create_subscription(kind, topic, received.append, quality)
        return received

    def wait(self, condition, seconds=30.0, meanwhile=lambda: None):
        """Call ``meanwhile`` ten times a second until ``condition`` holds; its last value."""
        end = time.monotonic() + seconds
        while not (value := condition()) and time.monotonic() < end:
            meanwhile()
            time.sleep(0.1)
        assert value, f"not within {seconds} s"
        return value

    def call(self, kind, name, request):
        """The answer of a service."""
        if name not in self._clients:
            self._clients[name] = self._service_client(kind, name)
        future = self._clients[name].call_async(request)
        self.wait(future.done)
        return future.result()

    def _service_client(self, kind, name):
        for _ in range(12):
            client = self.node.create_client(kind, name)
            if client.wait_for_service(5.0):
                self.wait_until_known(client.srv_name)
                return client
            # A client made while the participants meet may miss the service for good.
            self.node.destroy_client(client)
        raise AssertionError(f"the service {name} was not seen in a minute")

    def action_client(self, kind, name) -> ActionClient:
        """A client that has found its action.

        Made in the thread that spins: rclpy's executor may see it before it is complete.
        """
        if name not in self._clients:
            executor = self._spinning[0][0]
            client = executor.create_task(ActionClient, self.node, kind, name)
            self.wait(client.done)
            assert client.result().wait_for_server(10)
            resolved = self.node.resolve_service_name(name)
            for service in ("send_goal", "cancel_goal", "get_result"):
                self.wait_until_known(f"{resolved}/_action/{service}")
            self._clients[name] = client.result()
        return self._clients[name]

    def wait_until_known(self, service, clients=1):
        """Wait until the nodes under test have found so many clients of ``service``.

        Finding the service is one half only: what a server answers before it has found the client
        too is lost.
        """
        nodes = [node for _, _, node in self._spinning[1:]]
        for node in nodes:
            self.wait(lambda node=node: node.count_clients(service) >= clients)
        # The graph knows a client a moment before DDS answers it; other processes tell nothing.
        time.sleep(0.1 if nodes else 0.5)

    def wait_until_answered(self, client, request):
        """Send a request that changes nothing until one is answered: both sides know each other.

        Of a process that tells nothing there is no other way to know, and on a busy machine it may
        take long.
        """
        answers = []

        def ask():
            if not answers or len(answers) < (time.monotonic() - began):
                answers.append(client.call_async(request))

        began = time.monotonic()
        self.wait(lambda: any(answer.done() for answer in answers), meanwhile=ask)

    def close(self):
        for executor, thread, node in self._spinning:
            executor.shutdown()
            thread.join()
            node.destroy_node()
        self.context.try_shutdown()


class Camera:
    """Publishes an image with a new stamp at each call."""

    def __init__(self, bench, topic="image", quality=NEWEST, kind=Image, make=good_image):
        self._publisher = bench.node.create_publisher(kind, topic, quality)
        self._make = make
        self.sent = 0

    def __call__(self, message=None):
        self.sent += 1
        self._publisher.publish(message or self._make(self.sent))


def start(vltp, task="cut bread"):
    """Configure and activate the node, and give it a task."""
    vltp.set_parameters([Parameter("task", value=task)])
    assert vltp.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert vltp.trigger_activate() == TransitionCallbackReturn.SUCCESS


def change_state(bench, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bench.call(ChangeState, "vltp/change_state", request).success


def state(bench) -> str:
    return bench.call(GetState, "vltp/get_state", GetState.Request()).current_state.label


def diagnosis(bench, condition, subject="inference", meanwhile=lambda: None):
    """The next status of the node about ``subject`` for which ``condition`` holds."""
    received = bench.listen(DiagnosticArray, "/diagnostics")

    def fitting():
        statuses = [status for array in received for status in array.status]
        return [s for s in statuses if s.name.endswith(f": {subject}") and condition(s)]

    bench.wait(fitting, meanwhile=meanwhile)
    return fitting()[0]


def values(status) -> dict[str, str]:
    """What a diagnostic status holds."""
    return {value.key: value.value for value in status.values}

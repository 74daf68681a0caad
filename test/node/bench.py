"""What a test of a node works at: another node that sends and listens."""

from __future__ import annotations

import threading
import time

import rclpy
from rclpy.executors import SingleThreadedExecutor


class Bench:
    """A node that sends and listens, and nodes under test, all spinning in threads.

    The two sides are DDS participants of their own, as they are when they are processes.
    """

    def __init__(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("test", context=self.context)
        self._spinning = []
        self.add(self.node)

    def add(self, node):
        """Spin ``node`` until the end of the test."""
        executor = SingleThreadedExecutor(context=node.context)
        executor.add_node(node)
        thread = threading.Thread(target=executor.spin)
        thread.start()
        self._spinning.append((executor, thread, node))
        return node

    def listen(self, kind, topic, quality=10) -> list:
        """The list that messages on ``topic`` are added to."""
        received = []
        self.node.create_subscription(kind, topic, received.append, quality)
        return received

    def wait(self, condition, seconds=10.0, meanwhile=lambda: None):
        """Call ``meanwhile`` ten times a second until ``condition`` holds; its last value."""
        end = time.monotonic() + seconds
        while not (value := condition()) and time.monotonic() < end:
            meanwhile()
            time.sleep(0.1)
        assert value, f"not within {seconds} s"
        return value

    def call(self, kind, name, request):
        """The answer of a service."""
        for _ in range(5):
            client = self.node.create_client(kind, name)
            if client.wait_for_service(5.0):
                time.sleep(0.5)  # the service has to find the client too
                break
            # A client made while the participants meet may miss the service for good.
            self.node.destroy_client(client)
        future = client.call_async(request)
        self.wait(future.done, seconds=30)
        return future.result()

    def close(self):
        for executor, thread, node in self._spinning:
            executor.shutdown()
            thread.join()
            node.destroy_node()
        self.context.try_shutdown()

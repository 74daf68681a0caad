"""The publishers of one camera's answers."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import QoSProfile

from vltp_ros.node.qos import OUTPUT_OVERRIDES


class Publishers:
    """Creates a camera's publishers, and takes them down together.

    Args:
        node: that publishes.
        prefix: what the topics' names begin with, ``"~/"`` or ``"~/front/"``.
    """

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        self._node = node
        self._prefix = prefix
        self._publishers: list[LifecyclePublisher] = []

    def create(self, kind: type, name: str, quality: QoSProfile) -> LifecyclePublisher:
        """Create one, whose quality of service parameters may override."""
        publisher: LifecyclePublisher = self._node.create_lifecycle_publisher(
            kind, f"{self._prefix}{name}", quality, qos_overriding_options=OUTPUT_OVERRIDES
        )
        self._publishers.append(publisher)
        return publisher

    def destroy(self) -> None:
        """Take the topics down."""
        publishers, self._publishers = self._publishers, []
        for publisher in publishers:
            self._node.destroy_lifecycle_publisher(publisher)

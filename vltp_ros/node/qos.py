"""Qualities of service; the defaults of QoSProfile are reliable, volatile, keep last."""

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile

from vltp_ros.node.config import MAX_TASKS, NodeConfig

NEWEST = QoSProfile(depth=1)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

REQUESTS = QoSProfile(depth=1000)
"""Of services whose answers take a while: by default the middleware keeps ten requests, and drops
the rest of those that come at once without a word."""

LEASE_SECONDS = 2.0
"""After so long without a sign of life a subscriber of answers that asks for it is told that the
node is gone."""


def of_answers(config: NodeConfig, depth: int = 1) -> QoSProfile:
    """Return the quality of service of a topic of answers."""
    profile = QoSProfile(
        depth=depth,
        liveliness=LivelinessPolicy.AUTOMATIC,
        liveliness_lease_duration=Duration(seconds=LEASE_SECONDS),
    )
    if config.output_deadline:
        profile.deadline = Duration(seconds=config.output_deadline)
    return profile


def of_each_task(config: NodeConfig) -> QoSProfile:
    """Return that of a topic that has a message for each task of an image."""
    return of_answers(config, MAX_TASKS)

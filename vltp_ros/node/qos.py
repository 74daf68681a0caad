"""Qualities of service; the defaults of QoSProfile are reliable, volatile, keep last.

Those of every topic are parameters too, ``qos_overrides.TOPIC.publisher.reliability`` and so on,
with the topic's name as it is remapped. rclpy declares them with the publisher or subscription, and
writes them into its profile: one that several share has to be copied.
"""

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSPolicyKind,
    QoSProfile,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from vltp_ros.node.config import MAX_TASKS, RELIABILITIES, NodeConfig

NEWEST = QoSProfile(depth=1)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

REQUESTS = QoSProfile(depth=1000)
"""Of services whose answers take a while: by default the middleware keeps ten requests, and drops
the rest of those that come at once without a word."""

MAX_DEPTH = 10_000  # messages

LEASE_SECONDS = 2.0
"""After so long without a sign of life a subscriber of answers that asks for it is told that the
node is gone."""


def _check(quality: QoSProfile) -> SetParametersResult:
    """Refuse what would fill the memory, or make a publisher wait, when somebody is slow."""
    reason = ""
    if quality.history == HistoryPolicy.KEEP_ALL:
        reason = "history is 'keep_all'; allowed: keep_last, with a depth"
    elif not 1 <= quality.depth <= MAX_DEPTH:
        reason = f"depth is {quality.depth}; it must be between 1 and {MAX_DEPTH}"
    return SetParametersResult(successful=not reason, reason=reason)


_QUEUE = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH)

OUTPUT_OVERRIDES = QoSOverridingOptions(
    (*_QUEUE, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY), callback=_check
)
TASK_OVERRIDES = QoSOverridingOptions((*_QUEUE, QoSPolicyKind.RELIABILITY), callback=_check)
"""Durability aside: latched tasks are heard, whoever publishes them."""
SENSOR_OVERRIDES = QoSOverridingOptions((*_QUEUE, QoSPolicyKind.DURABILITY), callback=_check)
"""Reliability aside, which may follow the publishers: see :func:`sensor_reliability`."""


def sensor_reliability(node: Node, topic: str, default: str) -> str:
    """Return one of RELIABILITIES for the subscription to a sensor, by default or by parameter.

    Raises ValueError for what is none of them.
    """
    name = f"qos_overrides.{topic}.subscription.reliability"
    if not node.has_parameter(name):
        words = f"reliability for subscription `{topic}`; auto: as the publishers offer"
        node.declare_parameter(
            name, default, ParameterDescriptor(description=words, read_only=True)
        )
    value = node.get_parameter(name).value
    if value not in RELIABILITIES:
        raise ValueError(f"{name} is {value!r}; allowed: {', '.join(RELIABILITIES)}")
    return value


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


def of_each_instance(config: NodeConfig) -> QoSProfile:
    """Return that of a topic that has a message for each instance of each task of an image."""
    return of_answers(config, 4 * MAX_TASKS)

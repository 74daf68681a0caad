"""Qualities of service; the defaults of QoSProfile are reliable, volatile, keep last."""

from rclpy.qos import DurabilityPolicy, QoSProfile

from vltp_ros.node.config import MAX_TASKS

NEWEST = QoSProfile(depth=1)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
NEWEST_OF_EACH_TASK = QoSProfile(depth=MAX_TASKS)

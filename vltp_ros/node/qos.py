"""Qualities of service; the defaults of QoSProfile are reliable, volatile, keep last."""

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from vltp_ros.config import MAX_TASKS, NodeConfig

NEWEST = QoSProfile(depth=1)
NEWEST_BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
NEWEST_OF_EACH_TASK = QoSProfile(depth=MAX_TASKS)


def of_images(config: NodeConfig) -> QoSProfile:
    """What the node asks of a publisher of images."""
    return QoSProfile(
        depth=config.image_depth,
        reliability=ReliabilityPolicy[config.image_reliability.upper()],
        durability=DurabilityPolicy[config.image_durability.upper()],
    )

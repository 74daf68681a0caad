"""The ROS 2 nodes: the only room that imports rclpy."""

import vltp_ros.runtime  # noqa: F401 - before PyTorch is loaded

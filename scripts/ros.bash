# Sourced by the other scripts.

# True where a ROS 2 distribution was sourced in this shell.
ros_is_sourced() { [ -n "${ROS_DISTRO-}" ] && python3 -c 'import rclpy' 2>/dev/null; }

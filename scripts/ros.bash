# Sourced by the other scripts.

# True where a ROS 2 distribution was sourced in this shell.
ros_is_sourced() { [ -n "${ROS_DISTRO-}" ] && python3 -c 'import rclpy' 2>/dev/null; }

# What the names of .venv, build and install end with: each distribution of wheels but the default
# one, Kilted, has its own, so that changing over destroys nothing.
ros_suffix() {
    local wheels=${ROS_WHEELS:-kilted}
    ros_is_sourced || [ "$wheels" = kilted ] || echo "-$wheels"
}

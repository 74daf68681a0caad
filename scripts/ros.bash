# Sourced by the other scripts.

# True where a ROS 2 distribution was sourced in this shell.
ros_is_sourced() { [ -n "${ROS_DISTRO-}" ] && python3 -c 'import rclpy' 2>/dev/null; }

# Where ROS 2 comes from: sourced, jazzy or kilted (as wheels), or none.
ros_source() { if ros_is_sourced; then echo sourced; else echo "${ROS_WHEELS:-jazzy}"; fi; }

# What the names of .venv, build and install end with: all but the default wheels, Jazzy's, have
# their own, so that changing over destroys nothing.
ros_suffix() {
    case $(ros_source) in
        sourced | jazzy) ;;
        *) echo "-$ROS_WHEELS" ;;
    esac
}

# Source this in bash to use what scripts/setup.sh set up: `. scripts/env.bash`
#
# It activates .venv, makes ROS's wheels there an ament prefix where no ROS 2 is sourced, and puts
# the built messages on the paths. With ROS_WHEELS=kilted: those of Kilted; with none: no ROS.

vltp_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
vltp_options=$(set +o)
set +u # neither activate nor colcon's files expect it

. "$vltp_root/scripts/ros.bash"
vltp_venv=$vltp_root/.venv$(ros_suffix)
vltp_setup=$vltp_root/install$(ros_suffix)/setup.bash
ros_is_sourced || export AMENT_PREFIX_PATH=$vltp_venv CMAKE_PREFIX_PATH=$vltp_venv
. "$vltp_venv/bin/activate"
if [ -f "$vltp_setup" ]; then
    . "$vltp_setup"
    ros_is_sourced || PATH=$(dirname "$vltp_setup")/vltp_ros/lib/vltp_ros:$PATH # for want of ros2
fi

eval "$vltp_options"
unset vltp_root vltp_options vltp_venv vltp_setup

# Source this in bash to use what scripts/setup.sh set up: `. scripts/env.bash`
#
# It activates .venv, makes ROS's wheels there an ament prefix where no ROS 2 is sourced, and puts
# the built messages on the paths.

vltp_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
vltp_options=$(set +o)
set +u # neither activate nor colcon's files expect it

. "$vltp_root/scripts/ros.bash"
ros_is_sourced || export AMENT_PREFIX_PATH=$vltp_root/.venv CMAKE_PREFIX_PATH=$vltp_root/.venv
. "$vltp_root/.venv/bin/activate"
if [ -f "$vltp_root/install/setup.bash" ]; then
    . "$vltp_root/install/setup.bash"
fi

eval "$vltp_options"
unset vltp_root vltp_options

#!/usr/bin/env bash
# Runs a command with the workspace's ROS environment.
set -e
. /ws/install/setup.bash
exec "$@"

"""Simulated camera, planner and vltp node: everything, without a robot."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(__file__).resolve().parents[1]


def generate_launch_description():
    """Return what `ros2 launch` is to start."""
    arguments = [
        DeclareLaunchArgument(
            "demo_params_file",
            default_value=str(SHARE / "config" / "demo.yaml"),
            description="YAML file with the parameters of camera and planner",
        ),
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of all nodes"),
        DeclareLaunchArgument(
            "rviz_frame",
            default_value="camera_optical_frame",
            description="Fixed frame of RViz: there is no TF here, so the frame_id of the images",
        ),
    ]
    # Its arguments are this file's too: model, device, params_file, use_rviz, …
    vltp = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "vltp.launch.py"))
    )
    others = [
        Node(
            package="vltp_ros",
            executable=name,
            name=name,
            namespace=LaunchConfiguration("namespace"),
            parameters=[LaunchConfiguration("demo_params_file")],
            output="screen",
        )
        for name in ("sim_camera", "planner")
    ]
    return LaunchDescription([*arguments, vltp, *others])

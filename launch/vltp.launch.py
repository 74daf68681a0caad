"""The vltp node alone, for a camera and a planner that already run."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(__file__).resolve().parents[1]

ARGUMENTS = [
    DeclareLaunchArgument(
        "params_file",
        default_value=str(SHARE / "config" / "vltp.yaml"),
        description="YAML file with the node's parameters",
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node"),
    DeclareLaunchArgument(
        "model", default_value="", description="Model directory; empty: what params_file says"
    ),
    DeclareLaunchArgument(
        "device",
        default_value="",
        description="auto, cpu, cuda or cuda:N; empty: what params_file says",
    ),
    DeclareLaunchArgument("image_topic", default_value="image", description="Camera images"),
    DeclareLaunchArgument("task_topic", default_value="task", description="Task sentences"),
    DeclareLaunchArgument(
        "use_rviz",
        default_value="false",
        choices=["true", "false"],
        description="Show image, mask and overlay in RViz",
    ),
]


def vltp_node(context):
    """The node; an argument left empty leaves its parameter to the file."""
    values = {name: LaunchConfiguration(name).perform(context) for name in ("model", "device")}
    given = {name: value for name, value in values.items() if value}
    node = Node(
        package="vltp_ros",
        executable="vltp_node",
        name="vltp",
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file"), *([given] if given else [])],
        remappings=[
            ("image", LaunchConfiguration("image_topic")),
            ("task", LaunchConfiguration("task_topic")),
        ],
        output="screen",
    )
    return [node]


def generate_launch_description():
    """Called by `ros2 launch`."""
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=LaunchConfiguration("namespace"),
        arguments=["-d", str(SHARE / "config" / "vltp.rviz")],
        remappings=[("image", LaunchConfiguration("image_topic"))],
        condition=IfCondition(LaunchConfiguration("use_rviz")),
    )
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=vltp_node), rviz])

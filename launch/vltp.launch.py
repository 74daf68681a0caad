"""The vltp node, for cameras and a planner that already run. Other launch files may include it."""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = Path(__file__).resolve().parents[1]

# Left empty, each of these leaves the parameter of its name to params_file.
PARAMETERS = {
    "model": "Model directory",
    "device": "auto, cpu, cuda or cuda:N",
    "precision": "auto, float32, bfloat16 or float16: what SAM computes in",
    "runner": "auto, eager or compiled: how the model runs",
    "max_latency_ms": "Milliseconds that an image may take in the model; 0: as long as it takes",
    "autostart": "true: configure and activate at the start; false: a manager does",
    "cameras": "Namespaces of the cameras, joined by commas",
    "transport": "raw or compressed: how the images come",
    "task": "Sentence to work on until another one comes",
}

ARGUMENTS = [
    DeclareLaunchArgument(
        "params_file",
        default_value=str(SHARE / "config" / "vltp.yaml"),
        description="YAML file with the node's parameters",
    ),
    *(
        DeclareLaunchArgument(
            name, default_value="", description=f"{description}; empty: what params_file says"
        )
        for name, description in PARAMETERS.items()
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node"),
    DeclareLaunchArgument(
        "image",
        default_value="image",
        description="Topic of the camera's images, without /compressed; not with cameras",
    ),
    DeclareLaunchArgument("depth", default_value="depth", description="Topic of its depth images"),
    DeclareLaunchArgument(
        "camera_info", default_value="camera_info", description="Topic of its calibration"
    ),
    DeclareLaunchArgument(
        "task_topic", default_value="task", description="Topic of task sentences"
    ),
    DeclareLaunchArgument(
        "use_rviz",
        default_value="false",
        choices=["true", "false"],
        description="Show image, overlay, mask, kept tokens and markers in RViz",
    ),
    DeclareLaunchArgument(
        "live_view",
        default_value="",
        description="host:port to serve the Foxglove app at, such as 127.0.0.1:8765; empty: do not",
    ),
    DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="Least severe messages that the node logs",
    ),
]


def given_parameters(values):
    """Return the parameters that arguments were given for, of the types that the node declares."""
    given = {name: value for name, value in values.items() if value}
    if "max_latency_ms" in given:
        given["max_latency_ms"] = float(given["max_latency_ms"])
    if "autostart" in given:
        given["autostart"] = given["autostart"].lower() == "true"
    if "cameras" in given:
        given["cameras"] = [name.strip() for name in given["cameras"].split(",")]
    return given


def remappings(values):
    """Return pairs of the node's names and those of the arguments; compressed images go along."""
    image = values["image"]
    return [
        ("image", image),
        ("image/compressed", f"{image}/compressed"),
        ("depth", values["depth"]),
        ("camera_info", values["camera_info"]),
        ("task", values["task_topic"]),
    ]


def vltp_node(context):
    """Return the node, by the arguments as they are when it is launched."""
    names = (*PARAMETERS, "image", "depth", "camera_info", "task_topic")
    values = {name: LaunchConfiguration(name).perform(context) for name in names}
    given = given_parameters({name: values[name] for name in PARAMETERS})
    node = Node(
        package="vltp_ros",
        executable="vltp_node",
        name="vltp",
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file"), *([given] if given else [])],
        remappings=remappings(values),
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )
    return [node]


def live_view(context):
    """Return the server for the Foxglove app, where an address is given."""
    address = LaunchConfiguration("live_view").perform(context)
    if not address:
        return []
    node = Node(
        package="vltp_ros",
        executable="live_view",
        name="live_view",
        namespace=LaunchConfiguration("namespace"),
        parameters=[{"address": address}],
        output="screen",
    )
    return [node]


def generate_launch_description():
    """Return what `ros2 launch` is to start."""
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=LaunchConfiguration("namespace"),
        arguments=["-d", str(SHARE / "config" / "vltp.rviz")],
        remappings=[("image", LaunchConfiguration("image"))],
        condition=IfCondition(LaunchConfiguration("use_rviz")),
    )
    made = [OpaqueFunction(function=function) for function in (vltp_node, live_view)]
    return LaunchDescription([*ARGUMENTS, *made, rviz])

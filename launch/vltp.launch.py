"""The vltp node, for cameras and a planner that already run. Other launch files may include it."""

import re
from pathlib import Path

import yaml
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

SHARE = Path(__file__).resolve().parents[1]
PARAMS_FILE = SHARE / "config" / "vltp.yaml"
NAME = re.compile(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)  # of a topic or a namespace
RVIZ_TOPICS = ("overlay", "mask", "kept", "markers", "points")  # of the node, in vltp.rviz


def truth(text):
    """Return whether a text says true; ValueError if it is neither true nor false."""
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def numbers(text):
    """Return numbers that are joined by commas."""
    return [float(number) for number in text.split(",")]


# Left empty, each of these leaves the parameter of its name to params_file.
PARAMETERS = {
    "model": (str, "Model directory"),
    "device": (str, "auto, cpu, cuda or cuda:N"),
    "threads": (int, "CPU threads for the model; 0: PyTorch's default"),
    "quantization": (str, "own, auto, float32, bfloat16, int8 or nf4: LLaVA's weights in memory"),
    "precision": (str, "auto, float32, bfloat16 or float16: what SAM computes in"),
    "runner": (str, "auto, eager or compiled: how the model runs"),
    "model_process": (truth, "true: the model has a process of its own; false: a thread"),
    "autostart": (truth, "true: configure and activate at the start; false: a manager does"),
    "transport": (str, "raw or compressed: how the images come"),
    "image_reliability": (str, "auto, best_effort or reliable: the subscriptions to sensors"),
    "rates": (numbers, "Shares of image tokens frozen at each stage, joined by commas"),
    "csp": (int, "0, 65 or 70: image tokens that LLaVA's layers see (LVLM_CSP)"),
    "max_latency_ms": (float, "Milliseconds that an image may take in the model; 0: any"),
    "threshold": (float, "Probability above which a pixel belongs to the mask, 0 to 1"),
    "task": (str, "Sentence to work on until another one comes"),
    "use_sim_time": (truth, "true: the clock is the topic /clock, as of a simulation or a bag"),
}
EXPECTED = {
    int: "a whole number",
    float: "a number",
    truth: "true or false",
    numbers: "numbers, joined by commas, such as 0.5,0.7",
}


def parameters_without_argument():
    """Return the names of the parameters that have no argument."""
    named = yaml.safe_load(PARAMS_FILE.read_text())["/**"]["ros__parameters"]
    return [name for name in named if name not in (*PARAMETERS, "cameras", "depth")]


def argument(name, default, description, **options):
    """Declare an argument of this file."""
    return DeclareLaunchArgument(name, default_value=default, description=description, **options)


ARGUMENTS = [
    argument(
        "params_file",
        str(PARAMS_FILE),
        "YAML file with the node's parameters; those that have no argument here: "
        + ", ".join(parameters_without_argument()),
    ),
    *(
        argument(name, "", f"{description}; empty: what params_file says")
        for name, (_, description) in PARAMETERS.items()
    ),
    argument("namespace", "", "Namespace of the node"),
    argument("image", "image", "Topic of the camera's images, without /compressed"),
    argument(
        "cameras",
        "",
        "Several cameras instead of one: names, joined by commas, each with the topic of its "
        "images, such as front=/front/color/image_raw,wrist=/wrist/image_raw; of a name without "
        "one: NAME/image; empty: what params_file says",
    ),
    argument(
        "depth",
        "",
        "Topic of the camera's depth images; with cameras NAME=TOPIC, joined by commas. Given, the "
        "parameter depth is true; empty: what params_file says",
    ),
    argument("camera_info", "", "Topic of its calibration; with cameras as depth"),
    argument("task_topic", "task", "Topic of task sentences"),
    argument(
        "respawn",
        "false",
        "Start the node again whenever its process ends",
        choices=["true", "false"],
    ),
    argument("respawn_delay", "2.0", "Seconds before it is started again"),
    argument(
        "use_rviz",
        "false",
        "Show image, overlay, mask, kept tokens and markers of the first camera in RViz",
        choices=["true", "false"],
    ),
    argument(
        "rviz_frame",
        "base_link",
        "Fixed frame of RViz: any that TF relates to the frame_id of the images, or that one",
    ),
    argument(
        "live_view",
        "",
        "host:port to serve the Foxglove app at, such as 127.0.0.1:8765; empty: do not",
    ),
    argument(
        "log_level",
        "info",
        "Least severe messages that the node logs",
        choices=["debug", "info", "warn", "error", "fatal"],
    ),
]


def parsed(name, text, parse):
    """Return the value of an argument; ValueError says what is allowed."""
    try:
        return parse(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}; it must be {EXPECTED[parse]}") from None


def topics_by_name(argument_name, text):
    """Return name → topic of NAME=TOPIC,NAME=TOPIC,…; a topic that is left out is empty."""
    topics = {}
    for item in text.split(","):
        name, equals, topic = (part.strip() for part in item.partition("="))
        good = NAME.fullmatch(name) and (NAME.fullmatch(topic) or not equals)
        if not good or name in topics:
            raise ValueError(
                f"{argument_name} is {text!r}, with {item!r}; it must be NAME or NAME=TOPIC, "
                "joined by commas, each name once"
            )
        topics[name] = topic
    return topics


def topics_of(name, values):
    """Return camera → topic that the arguments give for its image, depth or camera_info.

    A topic that is left out is empty; so is the name of the only camera.
    """
    text, cameras = values[name], values["cameras"]
    if not cameras:
        if text and not NAME.fullmatch(text):
            raise ValueError(
                f"{name} is {text!r}; it must be a topic, such as /camera/{name}; with cameras, "
                "NAME=TOPIC"
            )
        return {"": text}
    topics = topics_by_name("cameras", cameras)
    if name == "image":
        if text != "image":
            raise ValueError(
                f"image is {text!r} and cameras is {cameras!r}; of several cameras the topics are "
                "given there, as NAME=TOPIC"
            )
        return topics
    given = topics_by_name(name, text) if text else {}
    if unknown := given.keys() - topics.keys():
        raise ValueError(f"{name} is {text!r}; cameras has no {min(unknown)!r}: {cameras!r}")
    return given


def remappings(values):
    """Return pairs of the node's topics and those of the arguments; compressed images go along."""
    pairs = [("task", values["task_topic"])]
    for name in ("image", "depth", "camera_info"):
        for camera, topic in topics_of(name, values).items():
            own = f"{camera}/{name}" if camera else name
            if topic:
                pairs.append((own, topic))
            if topic and name == "image":
                pairs.append((f"{own}/compressed", f"{topic}/compressed"))
    return pairs


def given_parameters(values):
    """Return the parameters that arguments were given for, of the types that the node declares."""
    given = {
        name: parsed(name, values[name], parse)
        for name, (parse, _) in PARAMETERS.items()
        if values[name]
    }
    if values["cameras"]:
        given["cameras"] = list(topics_by_name("cameras", values["cameras"]))
    if values["depth"]:
        given["depth"] = True
    return given


def vltp(values):
    """Return the node itself."""
    if not Path(values["params_file"]).is_file():  # launch would leave it out with a warning
        raise FileNotFoundError(f"params_file is {values['params_file']!r}, which is no file")
    given = given_parameters(values)
    return LifecycleNode(
        package="vltp_ros",
        executable="vltp_node",
        name="vltp",
        namespace=values["namespace"],
        parameters=[values["params_file"], *([given] if given else [])],
        remappings=remappings(values),
        ros_arguments=["--log-level", values["log_level"]],
        respawn=values["respawn"] == "true",
        respawn_delay=parsed("respawn_delay", values["respawn_delay"], float),
        output="screen",
    )


def live_view(values):
    """Return the server for the Foxglove app."""
    return Node(
        package="vltp_ros",
        executable="live_view",
        name="live_view",
        namespace=values["namespace"],
        parameters=[{"address": values["live_view"]}, *clock(values)],
        output="screen",
    )


def rviz(values):
    """Return RViz, which shows the first camera."""
    camera, topic = next(iter(topics_of("image", values).items()))
    pairs = [("image", topic or f"{camera}/image")]
    if camera:
        pairs += [(f"vltp/{name}", f"vltp/{camera.strip('/')}/{name}") for name in RVIZ_TOPICS]
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace=values["namespace"],
        arguments=[
            "--display-config",
            str(SHARE / "config" / "vltp.rviz"),
            "--fixed-frame",
            values["rviz_frame"],
        ],
        parameters=clock(values),
        remappings=pairs,
    )


def clock(values):
    """Return which clock the nodes beside vltp have, as a list of parameters."""
    given = given_parameters(values)
    return [{"use_sim_time": given["use_sim_time"]}] if "use_sim_time" in given else []


def nodes(context):
    """Return what the arguments ask for, as they are when it is launched."""
    names = [declared.name for declared in ARGUMENTS]
    values = {name: LaunchConfiguration(name).perform(context).strip() for name in names}
    actions = [vltp(values)]
    if values["live_view"]:
        actions.append(live_view(values))
    if values["use_rviz"] == "true":
        actions.append(rviz(values))
    return actions


def generate_launch_description():
    """Return what `ros2 launch` is to start."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=nodes)])

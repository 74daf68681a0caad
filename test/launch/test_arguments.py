"""What the launch files make of their arguments, with stand-ins for launch and launch_ros."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import stand_ins
import yaml

from vltp_ros.node.config import NodeConfig

ROOT = Path(__file__).resolve().parents[2]
VLTP, DEMO = (ROOT / "launch" / f"{name}.launch.py" for name in ("vltp", "demo"))


@pytest.fixture
def launched(tmp_path):
    """Launches a file with arguments; what would be started, by the executable's name."""

    def launch(file=VLTP, **arguments):
        processes = stand_ins.launch(file, tmp_path, **arguments).processes
        by_name = {process.executable: process for process in processes}
        assert len(by_name) == len(processes)
        return by_name

    return launch


@pytest.fixture
def started(monkeypatch):
    """Makes a real node of a process's command line; its parameters and topics' names."""
    rclpy = pytest.importorskip("rclpy", reason="rclpy is missing: run `make test`")
    from vltp_ros.node.parameters import Parameters

    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    context = rclpy.Context()

    def start(process):
        rclpy.init(args=process.command, context=context)
        node = rclpy.create_node("vltp", context=context)
        return Parameters(node, NodeConfig).config, node.resolve_topic_name

    yield start
    context.try_shutdown()


def test_without_arguments_the_node_alone_is_launched_with_its_defaults(launched, started):
    processes = launched()
    assert processes.keys() == {"vltp_node"}
    config, topic = started(processes["vltp_node"])
    assert config == NodeConfig()
    assert topic("image") == "/image" and topic("task") == "/task"


def test_arguments_become_parameters_of_the_right_type(launched, started):
    given = {
        "model": "/m",
        "device": "cpu",
        "threads": "2",
        "quantization": "nf4",
        "precision": "float32",
        "runner": "eager",
        "model_process": "false",
        "autostart": "False",
        "cameras": "front, arm/wrist",
        "transport": "compressed",
        "image_reliability": "reliable",
        "rates": "0.5, 0.7",
        "csp": "65",
        "max_latency_ms": "50",
        "threshold": "0.3",
        "task": "65",  # which YAML would take for a number
    }
    typed = {
        "threads": 2,
        "model_process": False,
        "autostart": False,
        "cameras": ("front", "arm/wrist"),
        "rates": (0.5, 0.7),
        "csp": 65,
        "max_latency_ms": 50.0,
        "threshold": 0.3,
    }
    node = launched(**given, use_sim_time="true")["vltp_node"]
    assert started(node)[0] == NodeConfig(**given | typed)
    assert node.parameters["use_sim_time"] is True


def test_every_parameter_has_an_argument_or_is_said_to_belong_into_the_file():
    described = stand_ins.described(VLTP)
    listed = described["params_file"].partition("no argument here: ")[2].split(", ")
    names = {spec.name for spec in dataclasses.fields(NodeConfig)}
    assert names - set(listed) <= described.keys()
    assert set(listed) == names - described.keys()


def test_topics_are_remapped_and_compressed_images_go_along(launched, started):
    given = {"image": "/eye/image_raw", "depth": "/eye/depth", "camera_info": "/eye/camera_info"}
    processes = launched(**given, task_topic="/plan/task", namespace="lab", log_level="warn")
    config, topic = started(processes["vltp_node"])
    assert {name: topic(name) for name in given} == given
    assert config.depth
    assert topic("image/compressed") == "/eye/image_raw/compressed"
    assert topic("task") == "/plan/task" and topic("tasks") == "/lab/tasks"
    assert processes["vltp_node"].command[:3] == ["--ros-args", "--log-level", "warn"]


def test_each_camera_has_topics_of_its_own(launched, started):
    processes = launched(
        cameras="front=/front/color/image_raw, arm/wrist=/wrist/image_raw,rear",
        depth="front=/front/aligned_depth_to_color/image_raw,rear",
        camera_info="front=/front/color/camera_info",
        namespace="lab",
        use_rviz="true",
    )
    config, topic = started(processes["vltp_node"])
    assert config.cameras == ("front", "arm/wrist", "rear") and config.depth
    topics = {
        "front/image": "/front/color/image_raw",
        "front/image/compressed": "/front/color/image_raw/compressed",
        "front/depth": "/front/aligned_depth_to_color/image_raw",
        "front/camera_info": "/front/color/camera_info",
        "arm/wrist/image": "/wrist/image_raw",
        "arm/wrist/image/compressed": "/wrist/image_raw/compressed",
        "arm/wrist/depth": "/lab/arm/wrist/depth",
        "rear/image": "/lab/rear/image",
        "rear/depth": "/lab/rear/depth",
    }
    assert {name: topic(name) for name in topics} == topics
    rviz = processes["rviz2"].remappings
    assert rviz["image"] == "/front/color/image_raw"
    assert rviz["vltp/overlay"] == "vltp/front/overlay"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cameras": "front:/a"}, r"cameras is 'front:/a'.* must be NAME or NAME=TOPIC"),
        ({"cameras": "front=a b"}, "with 'front=a b'"),
        ({"cameras": "front="}, "with 'front='"),
        ({"cameras": "front,"}, "with ''"),
        ({"cameras": "front,front=/a"}, "each name once"),
        ({"cameras": "front", "image": "/a"}, "of several cameras the topics are given there"),
        ({"cameras": "front", "depth": "wrist=/d"}, "cameras has no 'wrist': 'front'"),
        ({"cameras": "front", "camera_info": "/i=/j=/k"}, "camera_info is"),
        ({"depth": "front=/d"}, "depth is 'front=/d'; it must be a topic"),
        ({"image": "front=/a,b"}, "image is 'front=/a,b'"),
        ({"threads": "many"}, "threads is 'many'; it must be a whole number"),
        ({"max_latency_ms": "50 ms"}, "must be a number"),
        ({"rates": "0.5;0.7"}, "must be numbers, joined by commas"),
        ({"autostart": "yes"}, "autostart is 'yes'; it must be true or false"),
        ({"respawn_delay": "soon"}, "respawn_delay is 'soon'"),
        ({"params_file": "/nowhere.yaml"}, "params_file is '/nowhere.yaml', which is no file"),
    ],
)
def test_bad_values_are_refused_with_what_is_allowed(launched, given, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        launched(**given)


def test_rviz_and_the_live_view_are_launched_on_demand(launched):
    processes = launched(
        use_rviz="true",
        live_view="127.0.0.1:8765",
        image="/eye",
        namespace="lab",
        use_sim_time="true",
        rviz_frame="odom",
    )
    assert processes.keys() == {"vltp_node", "rviz2", "live_view"}
    assert {process.namespace for process in processes.values()} == {"/lab"}
    address = {"address": "127.0.0.1:8765", "use_sim_time": True}
    assert processes["live_view"].parameters == address
    rviz = processes["rviz2"]
    assert rviz.remappings == {"image": "/eye"} and rviz.parameters == {"use_sim_time": True}
    options = dict(zip(rviz.command[:4:2], rviz.command[1:4:2], strict=True))
    assert options["--fixed-frame"] == "odom"
    shown = yaml.safe_load(Path(options["--display-config"]).read_text())
    topics = {d["Topic"]["Value"] for d in shown["Visualization Manager"]["Displays"]}
    own = {f"vltp/{name}" for name in stand_ins.load(VLTP).RVIZ_TOPICS}
    assert topics == {"image", *own}


def test_the_node_is_managed_and_started_again_on_demand(launched):
    node = launched()["vltp_node"]
    assert node.is_lifecycle_node and not node.respawn
    node = launched(respawn="true", respawn_delay="0.5")["vltp_node"]
    assert node.respawn and node.respawn_delay == 0.5


def test_the_demo_adds_camera_and_planner(launched):
    processes = launched(DEMO, namespace="lab", model="/m")
    assert processes.keys() == {"vltp_node", "sim_camera", "planner"}
    assert {process.namespace for process in processes.values()} == {"/lab"}
    assert processes["vltp_node"].parameters == {"model": "/m"}
    file = ROOT / "config" / "demo.yaml"
    assert all(str(file) in processes[name].command for name in ("sim_camera", "planner"))
    rviz = launched(DEMO, use_rviz="true")["rviz2"].command
    frame = yaml.safe_load(file.read_text())["/**"]["ros__parameters"]["frame_id"]
    assert rviz[rviz.index("--fixed-frame") + 1] == frame


def test_every_executable_is_installed(launched):
    (installed,) = re.findall(
        r"foreach\(executable_name ([\w ]+)\)", (ROOT / "CMakeLists.txt").read_text()
    )
    launchable = launched(DEMO, live_view="127.0.0.1:8765").keys()
    assert launchable == set(installed.split())


@pytest.mark.parametrize("file", [VLTP, DEMO])
@pytest.mark.parametrize(
    "given", [{"modle": "/m"}, {"use_rviz": "yes"}, {"log_level": "loud"}, {"namespace": "a-b"}]
)
def test_refused_arguments(launched, file, given):
    with pytest.raises((ValueError, RuntimeError), match="|".join([*given, *given.values()])):
        launched(file, **given)


@pytest.mark.parametrize("file", [VLTP, DEMO])
def test_every_argument_is_described_and_read(tmp_path, file):
    described = stand_ins.described(file)
    assert all(described.values())
    everything = {"use_rviz": "true", "live_view": "127.0.0.1:8765"}
    assert stand_ins.launch(file, tmp_path, **everything).read == described.keys()


def test_documents_name_arguments_that_exist():
    named = set()
    for path in (
        ROOT / "README.md",
        *(ROOT / "docs").glob("*.md"),
        ROOT / "docker" / "compose.yaml",
    ):
        commands = re.findall(r"vltp\.launch\.py((?:\\\n|[^\n`])*)", path.read_text())
        named |= {name for command in commands for name in re.findall(r"(\w+):=", command)}
    assert {"image", "cameras", "depth"} <= named <= stand_ins.described(VLTP).keys()

"""What the launch files make of their arguments, with stand-ins for launch and launch_ros."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import stand_ins

from vltp_ros.node.config import NodeConfig

ROOT = Path(__file__).parents[2]
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
        "precision": "float32",
        "runner": "eager",
        "max_latency_ms": "50",
        "autostart": "False",
        "cameras": "front, arm/wrist",
        "transport": "compressed",
        "task": "65",  # which YAML would take for a number
    }
    config, _ = started(launched(**given)["vltp_node"])
    typed = {"max_latency_ms": 50.0, "autostart": False, "cameras": ("front", "arm/wrist")}
    assert config == NodeConfig(**given | typed)


def test_topics_are_remapped_and_compressed_images_go_along(launched, started):
    given = {"image": "/eye/image_raw", "depth": "/eye/depth", "camera_info": "/eye/camera_info"}
    processes = launched(**given, task_topic="/plan/task", namespace="lab", log_level="warn")
    _, topic = started(processes["vltp_node"])
    assert {name: topic(name) for name in given} == given
    assert topic("image/compressed") == "/eye/image_raw/compressed"
    assert topic("task") == "/plan/task" and topic("tasks") == "/lab/tasks"
    assert processes["vltp_node"].command[:3] == ["--ros-args", "--log-level", "warn"]


def test_rviz_and_the_live_view_are_launched_on_demand(launched):
    processes = launched(use_rviz="true", live_view="127.0.0.1:8765", image="/eye", namespace="lab")
    assert processes.keys() == {"vltp_node", "rviz2", "live_view"}
    assert {process.namespace for process in processes.values()} == {"/lab"}
    assert processes["live_view"].parameters == {"address": "127.0.0.1:8765"}
    rviz = processes["rviz2"]
    assert rviz.remappings == {"image": "/eye"}
    assert Path(rviz.command[rviz.command.index("-d") + 1]).is_file()


def test_the_demo_adds_camera_and_planner(launched):
    processes = launched(DEMO, namespace="lab", model="/m")
    assert processes.keys() == {"vltp_node", "sim_camera", "planner"}
    assert {process.namespace for process in processes.values()} == {"/lab"}
    assert processes["vltp_node"].parameters == {"model": "/m"}
    file = str(ROOT / "config" / "demo.yaml")
    assert all(file in processes[name].command for name in ("sim_camera", "planner"))


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

"""The stand-ins refuse what launch and launch_ros refuse."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import stand_ins
import yaml

REFUSED = {
    "an option that is not known": lambda ros: ros.Node(executable="true", nonsense=1),
    "no executable": lambda ros: ros.Node(package="vltp_ros"),
    "positional arguments": lambda ros: ros.Node("true"),
    "parameters without a list": lambda ros: ros.Node(executable="true", parameters={"a": 1}),
    "a number for a file": lambda ros: ros.Node(executable="true", parameters=[3]),
    "a parameter that is None": lambda ros: ros.Node(executable="true", parameters=[{"a": None}]),
    "a parameter without items": lambda ros: ros.Node(executable="true", parameters=[{"a": []}]),
    "a number as a name": lambda ros: ros.Node(executable="true", parameters=[{1: 2}]),
    "a remapping that is no pair": lambda ros: ros.Node(executable="true", remappings=[("a",)]),
    "a remapping in a list": lambda ros: ros.Node(executable="true", remappings=[["a", "b"]]),
    "remappings in a dictionary": lambda ros: ros.Node(executable="true", remappings={"a": "b"}),
    "a number as a topic": lambda ros: ros.Node(executable="true", remappings=[("a", 1)]),
    "a number as a namespace": lambda ros: ros.Node(executable="true", namespace=3),
    "a namespace with a dash": lambda ros: ros.Node(executable="true", namespace="a-b"),
    "a name with a dash": lambda ros: ros.Node(executable="true", name="a-b"),
    "None on a command line": lambda ros: ros.Node(executable="true", arguments=[None]),
    "a number on a command line": lambda ros: ros.Node(executable="true", ros_arguments=[3]),
    "respawn neither true nor false": lambda ros: ros.Node(executable="true", respawn="perhaps"),
    "a lifecycle node without a name": lambda ros: ros.LifecycleNode(
        executable="true", namespace=""
    ),
    "a lifecycle node without a namespace": lambda ros: ros.LifecycleNode(
        executable="true", name="x"
    ),
    "a configuration that nothing declares": lambda ros: ros.Node(
        executable="true", namespace=ros.LaunchConfiguration("nobody")
    ),
    "a parameter that is no YAML of a parameter": lambda ros: ros.Node(
        executable="true", parameters=[{"a": ros.LaunchConfiguration("nobody", default="{b: 1}")}]
    ),
    "an argument that is required": lambda ros: ros.DeclareLaunchArgument("a"),
    "an argument without choices": lambda ros: ros.DeclareLaunchArgument("a", choices=[]),
    "a default that is no choice": lambda ros: ros.DeclareLaunchArgument(
        "a", default_value="c", choices=["a", "b"]
    ),
    "an argument's option that is not known": lambda ros: ros.DeclareLaunchArgument(
        "a", default=""
    ),
    "a function by its position": lambda ros: ros.OpaqueFunction(lambda context: None),
    "a function that is none": lambda ros: ros.OpaqueFunction(function="f"),
    "a file that is none": lambda ros: ros.IncludeLaunchDescription(3),
    "a description that is no list": lambda ros: ros.LaunchDescription(3),
}
"""What is wrong -> makes what cannot be made, or not be launched."""


def library(modules: Mapping[str, ModuleType]) -> SimpleNamespace:
    """The classes that launch files are made of, from wherever."""
    names = [(module, c.__name__) for module, cls in stand_ins.MODULES.items() for c in cls]
    return SimpleNamespace(**{name: getattr(modules[module], name) for module, name in names})


@pytest.fixture
def real():
    """The real classes."""
    pytest.importorskip("launch_ros", reason="launch_ros is missing: source a ROS 2 distribution")
    return library({name: importlib.import_module(name) for name in stand_ins.MODULES})


def really_launch(real, make) -> bool:
    """Whether launch does without an error what ``make`` makes."""
    from launch import LaunchService

    service = LaunchService(noninteractive=True)
    making = real.OpaqueFunction(function=lambda context: [make(real)])
    service.include_launch_description(real.LaunchDescription([making]))
    return service.run() == 0


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_refused(tmp_path, make):
    ros = library(stand_ins.modules())
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        stand_ins.Context({}, tmp_path).visit(make(ros))


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_refused_by_the_real_classes(real, make):
    assert not really_launch(real, make)


def good(ros):
    """A node with a little of everything."""
    return ros.Node(
        executable="true",
        name="good",
        namespace=ros.LaunchConfiguration("nobody", default="lab"),
        parameters=[{"text": "65", "words": ["a", "b"], "numbers": (0.5, 1.0), "on": True}],
        remappings=[("image", ros.LaunchConfiguration("nobody", default="/eye"))],
        arguments=["--ros-args", "--log-level", "info"],
        ros_arguments=["--log-level", "warn"],
        respawn_delay=1.0,
        output="screen",
    )


def test_launched(tmp_path):
    context = stand_ins.Context({}, tmp_path)
    context.visit(good(library(stand_ins.modules())))
    (process,) = context.processes
    assert (process.name, process.namespace) == ("good", "/lab")
    assert process.remappings == {"image": "/eye"}
    values = {"text": "65", "words": ["a", "b"], "numbers": [0.5, 1.0], "on": True}
    assert process.parameters == values
    written = yaml.safe_load(
        Path(process.command[process.command.index("--params-file") + 1]).read_text()
    )
    assert written == {"/lab/good": {"ros__parameters": values}}


def test_launched_by_the_real_classes(real):
    assert really_launch(real, good)

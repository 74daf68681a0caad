"""What the launch files make of their arguments, with a stand-in where launch is missing."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import types
from pathlib import Path

import pytest

from vltp_ros.node.config import NodeConfig

LAUNCH = Path(__file__).parents[2] / "launch"


class Recorded:
    """Remembers how it was made."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs


@pytest.fixture
def vltp_launch(monkeypatch):
    """launch/vltp.launch.py as a module, made of stand-ins."""
    names = {
        "launch": ["LaunchDescription"],
        "launch.actions": ["DeclareLaunchArgument", "OpaqueFunction"],
        "launch.conditions": ["IfCondition"],
        "launch.substitutions": ["LaunchConfiguration"],
        "launch_ros": [],
        "launch_ros.actions": ["Node"],
    }
    for module, classes in names.items():
        stand_in = types.ModuleType(module)
        for name in classes:
            setattr(stand_in, name, type(name, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, module, stand_in)
    spec = importlib.util.spec_from_file_location("vltp_launch", LAUNCH / "vltp.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_argument_is_described(vltp_launch):
    described = {
        argument.args[0]: argument.kwargs["description"] for argument in vltp_launch.ARGUMENTS
    }
    wanted = "model device image params_file namespace cameras use_rviz autostart log_level"
    assert set(wanted.split()) <= set(described)
    assert all(described.values())
    assert set(vltp_launch.PARAMETERS) <= {spec.name for spec in dataclasses.fields(NodeConfig)}


def test_arguments_become_parameters_of_the_right_type(vltp_launch):
    empty = dict.fromkeys(vltp_launch.PARAMETERS, "")
    assert vltp_launch.given_parameters(empty) == {}
    given = vltp_launch.given_parameters(
        {"model": "/m", "autostart": "False", "cameras": "front, arm/wrist", "device": ""}
    )
    assert given == {"model": "/m", "autostart": False, "cameras": ["front", "arm/wrist"]}
    assert NodeConfig(**given | {"cameras": tuple(given["cameras"])})


def test_compressed_images_are_remapped_along(vltp_launch):
    values = {"image": "/cam/raw", "depth": "/d", "camera_info": "/i", "task_topic": "task"}
    remapped = dict(vltp_launch.remappings(values))
    assert remapped["image"] == "/cam/raw" and remapped["image/compressed"] == "/cam/raw/compressed"

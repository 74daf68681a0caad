"""The YAML files name settings that exist, with their defaults."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from vltp_ros.node.config import NodeConfig
from vltp_ros.rig.config import CameraConfig, PlannerConfig

CONFIG = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize(
    ("name", "classes"),
    [("vltp.yaml", (NodeConfig,)), ("demo.yaml", (CameraConfig, PlannerConfig))],
)
def test_parameter_files(name, classes):
    values = yaml.safe_load((CONFIG / name).read_text())["/**"]["ros__parameters"]
    defaults = {spec.name: spec.default for cls in classes for spec in dataclasses.fields(cls)}
    assert values == {name: defaults[name] for name in values}
    assert all(type(values[name]) is type(defaults[name]) for name in values)

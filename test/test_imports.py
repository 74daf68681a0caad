"""The rooms that know nothing of ROS import where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import vltp_ros.config

PACKAGE = Path(vltp_ros.config.__file__).parent
BLOCK = """
import importlib, sys
for name in "rclpy rcl_interfaces sensor_msgs std_msgs diagnostic_msgs vltp_ros.msg".split():
    sys.modules[name] = None
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def modules(room: Path) -> list[str]:
    """Dotted names of all modules in a file or folder of the package."""
    paths = [room] if room.is_file() else sorted(room.rglob("*.py"))
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def rooms() -> list[Path]:
    """Everything in the package but the nodes and what message generation adds."""
    found = [path for path in PACKAGE.glob("*") if path.suffix == ".py" or path.is_dir()]
    others = ("node", "action", "msg", "srv", "__pycache__", "__init__.py", "__main__.py")
    return sorted(path for path in found if path.name not in others)


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.stem)
def test_a_room_imports_without_ros(room):
    command = [sys.executable, "-c", BLOCK, *modules(room)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_only_the_session_knows_torch():
    """The nodes reach the model through the session alone."""
    for path in (PACKAGE / "node").glob("*.py"):
        assert "import torch" not in path.read_text(), path

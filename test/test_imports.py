"""Which room may import which, and that those without ROS import where there is none."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vltp_ros.settings

PACKAGE = Path(vltp_ros.settings.__file__).parent
MAY_IMPORT = {
    "settings": (),
    "types": (),
    "paths": (),
    "kernels": (),
    "processes": (),
    "progress": (),
    "network": ("kernels", "settings"),
    "checkpoints": ("network", "paths", "progress", "settings"),
    "runtime": ("checkpoints", "network", "paths", "processes", "settings", "types"),
    "imaging": ("paths", "progress", "runtime", "types"),
    "simulation": ("paths", "progress"),
    "data": ("imaging", "paths", "progress"),
    "training": (
        "checkpoints", "data", "network", "paths", "processes", "progress", "settings",
        "simulation",
    ),
    "evaluation": (
        "checkpoints", "data", "imaging", "kernels", "network", "processes", "progress", "runtime",
        "settings", "simulation", "training", "types",
    ),
    "node": ("action", "imaging", "msg", "network", "paths", "runtime", "settings", "srv", "types"),
    "rig": (
        "evaluation", "imaging", "msg", "node", "paths", "runtime", "settings", "simulation",
        "types",
    ),
    "cli": (
        "checkpoints", "data", "evaluation", "imaging", "network", "paths", "processes", "progress",
        "rig", "runtime", "settings", "simulation", "training", "types",
    ),
    "__main__": ("cli",),
}  # fmt: skip
"""Room -> what it may import beside itself; nothing imports back."""

GENERATED = ("action", "msg", "srv")

IMPORT = """
import importlib, sys
missing, names = (argument.split() for argument in sys.argv[1:])
sys.modules |= dict.fromkeys(missing)
for name in names:
    importlib.import_module(name)
"""


def import_without(missing: str, names: list[str]) -> None:
    """Import modules where those of ``missing`` cannot be, in a process of their own."""
    command = [sys.executable, "-c", IMPORT, missing, " ".join(names)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def modules(room: Path) -> list[str]:
    """Dotted names of all modules in a file or folder of the package."""
    paths = [room] if room.is_file() else sorted(room.rglob("*.py"))
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def test_all_but_the_nodes_import_without_ros_and_triton():
    rooms = [path for path in PACKAGE.glob("*") if path.suffix == ".py" or path.is_dir()]
    others = ("node", "rig", "action", "msg", "srv", "__pycache__", "__init__.py", "__main__.py")
    names = [name for room in rooms if room.name not in others for name in modules(room)]
    assert len(names) > 100
    ros = "rclpy rcl_interfaces sensor_msgs std_msgs diagnostic_msgs cv_bridge vltp_ros.msg"
    import_without(f"{ros} triton", names)


@pytest.mark.requires_ros
def test_nodes_start_without_pytorch():
    """It takes seconds to import: the model's thread does so, while the node already answers."""
    rig = [f"vltp_ros.rig.{name}" for name in ("planner", "sim_camera", "live_view", "stub")]
    import_without("torch transformers", ["vltp_ros.node.node", *rig])


def test_only_the_session_knows_torch():
    """The nodes reach the model through the session alone."""
    for path in (PACKAGE / "node").glob("*.py"):
        assert "import torch" not in path.read_text(), path


def imported_rooms(room: Path) -> dict[str, str]:
    """The other rooms that a file or folder of the package imports, anywhere in the code."""
    paths = [room] if room.is_file() else sorted(room.rglob("*.py"))
    rooms = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                package, *rest = name.split(".")
                if package == "vltp_ros" and rest and rest[0] != room.stem:
                    rooms[rest[0]] = path.name
    return rooms


def test_every_room_imports_what_it_may():
    ignored = (*GENERATED, "__init__.py", "__pycache__")  # and compiled messages, which lie beside
    paths = [p for p in PACKAGE.glob("*") if p.is_dir() or p.suffix == ".py"]
    rooms = {path.stem: path for path in paths if path.name not in ignored}
    assert rooms.keys() == MAY_IMPORT.keys()
    for name, path in rooms.items():
        for other, file in imported_rooms(path).items():
            assert other in MAY_IMPORT[name], f"{name}/{file} imports {other}"


def test_imports_go_one_way():
    left = dict(MAY_IMPORT)
    while left:
        done = [n for n, others in left.items() if not set(others) & left.keys()]
        assert done, f"these import each other: {sorted(left)}"
        for name in done:
            del left[name]

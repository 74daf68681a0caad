"""An executable that lacks something says in one line what, and which command brings it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="rclpy is missing: run `make test`")
pytest.importorskip("vltp_ros.msg", reason="the messages are not built: run `make test`")
pytestmark = pytest.mark.requires_ros


def executable(name: str) -> Path:
    from ament_index_python.packages import get_package_prefix

    return Path(get_package_prefix("vltp_ros"), "lib", "vltp_ros", name)


def lacking(folder: Path, *missing: str) -> list[str]:
    """A path for Python with everything that is installed here, but for some modules."""
    for directory in {*sysconfig.get_paths().values(), *sys.path}:
        if Path(directory).name not in ("site-packages", "dist-packages"):
            continue
        for entry in Path(directory).iterdir():
            link = folder / entry.name
            if entry.name.partition(".")[0] not in missing and not link.exists():
                link.symlink_to(entry)
    return str(folder)


def run(name: str, path: str, python: str = sys._base_executable) -> subprocess.CompletedProcess:
    """Run an executable by an interpreter that finds modules on one path alone."""
    return subprocess.run(
        [python, "-S", executable(name), "--ros-args", "-p", "no:=yaml:="],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )


def only_line(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("name", ["vltp_node", "sim_camera", "planner", "live_view"])
def test_without_ros(tmp_path, name):
    line = only_line(run(name, lacking(tmp_path, "rclpy")))
    assert line.startswith(f"{name}: No module named 'rclpy'") and "run: . /" in line


def test_without_the_messages(tmp_path):
    line = only_line(run("vltp_node", lacking(tmp_path, "vltp_ros")))
    assert "No module named 'vltp_ros'" in line and "run: . /" in line


def test_without_pytorch(tmp_path):
    line = only_line(run("vltp_node", lacking(tmp_path, "torch", "transformers")))
    assert "No module named torch, transformers" in line
    assert "venv" in line and "pip install --editable /" in line and "colcon build" in line


def test_without_a_library_that_is_imported_at_once(tmp_path):
    line = only_line(run("planner", lacking(tmp_path, "numpy", "cv2")))
    assert "No module named" in line and "pip install" in line


def test_in_a_virtual_environment_pip_is_enough(tmp_path):
    blocked = tmp_path / "sitecustomize.py"
    blocked.write_text("import sys\nsys.modules['vltp_ros.rig.planner'] = None\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, executable("planner")],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert f"run: {sys.executable} -m pip install --editable /" in only_line(done)

"""A package that has names and fields of what the node uses of vision_msgs, and nothing else."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

MESSAGES = {
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "Point2D position\nfloat64 theta",
    "BoundingBox2D": "Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": "ObjectHypothesis hypothesis\n"
    "geometry_msgs/PoseWithCovariance pose",
    "Detection2D": "std_msgs/Header header\nObjectHypothesisWithPose[] results\n"
    "BoundingBox2D bbox\nstring id",
    "Detection2DArray": "std_msgs/Header header\nDetection2D[] detections",
    "Detection3D": "std_msgs/Header header\nObjectHypothesisWithPose[] results\n"
    "BoundingBox3D bbox\nstring id",
    "Detection3DArray": "std_msgs/Header header\nDetection3D[] detections",
    "VisionClass": "uint16 class_id\nstring class_name",
    "LabelInfo": "std_msgs/Header header\nVisionClass[] class_map\nfloat32 threshold",
}

CMAKE = """cmake_minimum_required(VERSION 3.20)
project(vision_msgs)
find_package(ament_cmake REQUIRED)
find_package(geometry_msgs REQUIRED)
find_package(rosidl_default_generators REQUIRED)
find_package(std_msgs REQUIRED)
rosidl_generate_interfaces(${PROJECT_NAME}
  {files}
  DEPENDENCIES geometry_msgs std_msgs)
ament_package()
"""

PACKAGE = """<?xml version="1.0"?>
<package format="3">
  <name>vision_msgs</name>
  <version>0.0.0</version>
  <description>Stands in for vision_msgs in tests.</description>
  <maintainer email="nobody@example.com">nobody</maintainer>
  <license>Apache-2.0</license>
  <buildtool_depend>ament_cmake</buildtool_depend>
  <buildtool_depend>rosidl_default_generators</buildtool_depend>
  <depend>geometry_msgs</depend>
  <depend>std_msgs</depend>
  <member_of_group>rosidl_interface_packages</member_of_group>
  <export><build_type>ament_cmake</build_type></export>
</package>
"""


def build(folder: Path) -> Path:
    """Write the package into a folder and build it, unless that was done; return its prefix."""
    texts = {f"msg/{name}.msg": f"{fields}\n" for name, fields in MESSAGES.items()}
    texts["CMakeLists.txt"] = CMAKE.replace("{files}", "\n  ".join(sorted(texts)))
    texts["package.xml"] = PACKAGE
    key = hashlib.sha256(repr((sys.executable, texts)).encode()).hexdigest()[:16]
    workspace = folder / key
    prefix = workspace / "install" / "vision_msgs"
    with open(folder / "lock", "w") as lock:  # of the processes that test side by side one builds
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (workspace / "done").exists():
            for name, text in texts.items():
                path = workspace / "src" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            _compile(workspace, prefix)
            (workspace / "done").touch()
    return prefix


def _compile(workspace: Path, prefix: Path) -> None:
    # With paths in the libraries, so that they find each other without a shell that sources files.
    options = (
        "BUILD_TESTING=OFF",
        "CMAKE_BUILD_TYPE=None",
        f"Python3_EXECUTABLE={sys.executable}",
        "CMAKE_INSTALL_RPATH_USE_LINK_PATH=ON",
        f"CMAKE_INSTALL_RPATH={prefix}/lib",
    )
    command = ["colcon", "build", "--cmake-args", *(f"-D{option}" for option in options)]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def use(prefix: Path, monkeypatch) -> None:
    """Put a built package on the paths of this process."""
    (packages,) = prefix.glob("lib/python*/site-packages")
    monkeypatch.syspath_prepend(str(packages))
    paths = [str(prefix), *filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep))]
    monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join(paths))
    # The middleware asks for them by name, and LD_LIBRARY_PATH counts when a process starts.
    for kind in ("fastrtps_c", "introspection_c"):
        ctypes.CDLL(str(prefix / "lib" / f"libvision_msgs__rosidl_typesupport_{kind}.so"))

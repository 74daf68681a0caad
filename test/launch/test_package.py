"""package.xml names what the nodes, their launch files and their tests import."""

from __future__ import annotations

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ElementTree.parse(ROOT / "package.xml").getroot()
KEYS = {  # module -> rosdep key; ROS packages have the names of their modules
    "PIL": "python3-pil",
    "cv2": "python3-opencv",
    "hypothesis": "python3-hypothesis",
    "imageio": "python3-imageio",
    "numpy": "python3-numpy",
    "psutil": "python3-psutil",
    "pytest": "python3-pytest",
    "tqdm": "python3-tqdm",
    "yaml": "python3-yaml",
}
TYPES_ONLY = {"_typeshed"}


def declared(*kinds: str) -> set[str]:
    """What package.xml names; a dependency of any kind holds for running."""
    return {element.text for kind in ("depend", *kinds) for element in PACKAGE.findall(kind)}


def by_pip() -> set[str]:
    """What the comment in package.xml leaves to pip."""
    (comment,) = re.findall(r"<!-- By pip.*?-->", (ROOT / "package.xml").read_text(), re.DOTALL)
    return set(re.findall(r"\w+", comment))


def imported(*folders: str) -> set[str]:
    """The packages of others that the modules in these folders import, anywhere in the code."""
    paths = [path for folder in folders for path in (ROOT / folder).glob("*.py")]
    assert paths
    own = {path.stem for path in paths} | {"vltp_ros"}
    names = set()
    for node in (node for path in paths for node in ast.walk(ast.parse(path.read_text()))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names - own - TYPES_ONLY - sys.stdlib_module_names


def missing(modules: set[str], keys: set[str]) -> set[str]:
    return {KEYS.get(name, name) for name in modules if name not in by_pip()} - keys


def test_what_runs_is_declared():
    modules = imported("vltp_ros/node", "vltp_ros/rig", "vltp_ros/imaging", "launch")
    assert len(modules) > 15
    assert not missing(modules, declared("exec_depend"))


def test_what_is_launched_is_declared():
    launched = {
        name
        for path in (ROOT / "launch").glob("*.py")
        for name in re.findall(r'package="(\w+)"', path.read_text())
    }
    assert launched - {"vltp_ros"} <= declared("exec_depend")


def test_what_is_tested_is_declared():
    keys = declared("exec_depend", "test_depend")
    assert not missing(imported("test", "test/node", "test/launch"), keys)


def test_the_address_of_the_maintainer_is_a_placeholder_that_says_so():
    text = (ROOT / "package.xml").read_text()
    if ".invalid" in PACKAGE.find("maintainer").get("email"):
        assert "placeholder on purpose" in text


def test_the_packages_agree_on_the_version():
    (version,) = re.findall(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert PACKAGE.findtext("version") == version


def test_the_changelog_is_catkin_s_and_knows_the_version():
    changelog = pytest.importorskip("catkin_pkg.changelog", reason="catkin_pkg: run `make test`")
    versions = changelog.get_changelog_from_path(str(ROOT), PACKAGE.findtext("name"))
    assert "\nForthcoming\n" in (ROOT / "CHANGELOG.rst").read_text()
    assert versions.get_content_of_version(PACKAGE.findtext("version"))

"""The workflow and the image name what exists, in scripts that a shell can read.

Neither is run here, where there are no containers.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
INSTRUCTIONS = re.findall(
    r"^([A-Z]+) ((?:.*\\\n)*.*)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE
)
(JOB,) = WORKFLOW["jobs"].values()
SCRIPTS = {step["name"]: step["run"] for step in JOB["steps"] if "run" in step}
SCRIPTS |= {
    f"RUN {number}": text for number, (word, text) in enumerate(INSTRUCTIONS) if word == "RUN"
}
SCRIPTS["entrypoint"] = (DOCKER / "entrypoint.sh").read_text()


def extras(text: str) -> set[str]:
    """The extras of the package that a text asks pip for."""
    return {
        name for found in re.findall(r"vltp_ros\[([\w,]+)\]", text) for name in found.split(",")
    }


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_shell_can_read_it(script):
    assert len(SCRIPTS) == 9
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert checked.returncode == 0 and not checked.stderr


def test_both_lts_distributions_are_built_and_tested():
    assert JOB["strategy"]["matrix"]["distribution"] == ["jazzy", "lyrical"]
    assert JOB["container"] == "ros:${{ matrix.distribution }}"
    run = "\n".join(SCRIPTS.values())
    tests = set(re.findall(r"--ctest-args -R (\w+)", run))
    (folders,) = re.findall(
        r"foreach\(test_folder ([\w ]+)\)", (ROOT / "CMakeLists.txt").read_text()
    )
    assert tests == set(folders.split())


def test_the_extras_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    builds = [service["build"]["args"] for service in COMPOSE["services"].values()]
    named = extras("\n".join(SCRIPTS.values()))
    named |= {name for args in builds for name in args["EXTRAS"].split(",")}
    assert named and named <= project["optional-dependencies"].keys()


def test_the_image_is_built_of_files_that_exist():
    for service in COMPOSE["services"].values():
        build = service["build"]
        assert (DOCKER / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()
        declared = {text.partition("=")[0] for word, text in INSTRUCTIONS if word == "ARG"}
        assert build["args"].keys() <= declared
    for word, text in INSTRUCTIONS:
        if word == "COPY":
            *sources, target = shlex.split(text)
            assert target.rstrip("/") == "src/vltp_ros"
            assert all((ROOT / source).exists() for source in sources)
    ((entry,),) = [yaml.safe_load(text) for word, text in INSTRUCTIONS if word == "ENTRYPOINT"]
    assert os.access(ROOT / Path(entry).relative_to("/ws/src/vltp_ros"), os.X_OK)
    (command,) = [yaml.safe_load(text) for word, text in INSTRUCTIONS if word == "CMD"]
    assert (ROOT / "launch" / command[-1]).is_file()

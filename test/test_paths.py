"""Hints name commands that work: no index has this package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from vltp_ros.paths import pip_command

ROOT = Path(__file__).parents[1]


def test_an_extra_is_installed_from_the_checkout():
    assert pip_command("live") == f"pip install '{ROOT.resolve()}[live]'"


def test_no_hint_sends_to_an_index_or_for_an_unknown_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = set()
    for folder in ("vltp_ros", "test", "docs", "models", "launch", "scripts"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix not in (".py", ".md", ".in", ".bash", ".sh") or path == Path(__file__):
                continue
            text = path.read_text()
            assert "pip install 'vltp_ros" not in text, path
            named |= {
                extra
                for found in re.findall(r"pip install '\.\[(.*?)\]'|pip_command\(.(\w+).\)", text)
                for extra in "".join(found).split(",")
            }
    assert {"cpu", "live", "lora"} <= named <= project["optional-dependencies"].keys()

"""The documents say what the result files say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_tables_are_those_of_the_result_files():
    command = [sys.executable, "scripts/result_tables.py", "--check"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_the_files_that_the_map_names_are_there():
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`([\w/]+\.(?:py|md|txt|xml))`", text))
    assert len(named) > 20
    missing = [n for n in named if not any((r / n).exists() for r in (ROOT, ROOT / "vltp_ros"))]
    assert not missing
    rooms = set(re.findall(r"`(\w+)/`", text.split("## An image")[0]))
    folders = {path.parent.name for path in (ROOT / "vltp_ros").glob("*/__init__.py")}
    assert rooms == folders

"""The examples of docs/examples, run as a user runs them, against the node with the fake model."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from bench import start
from test_depth import DEPTH, senders

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@contextlib.contextmanager
def running(name, *arguments):
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def pick(bench, *arguments, meanwhile=lambda: None):
    """Exit status, and what was printed and logged."""
    with running("pick.py", *arguments) as process:
        bench.wait(lambda: process.poll() is not None, seconds=60, meanwhile=meanwhile)
        return process.returncode, *process.communicate()


def test_a_planner_is_told_where_to_grasp(bench, make_vltp):
    # The stub answers at once; the depth of an image, which has a topic of its own, may come later.
    start(make_vltp(depth=True, depth_tolerance=1.5), task="something else")
    status, printed, logged = pick(bench, "cut", "bread", meanwhile=senders(bench, DEPTH))
    assert status == 0, logged
    score, position, orientation, width = printed.splitlines()
    assert score == "score 0.50, in eye"
    assert position == "position 0.160 -0.180 2.000 m"
    assert len(orientation.split()) == 5 and float(width.split()[-2]) > 0.1
    assert "images in a row agree" in logged


def test_a_planner_is_told_that_depth_is_missing(bench, vltp, camera):
    start(vltp)
    status, printed, _ = pick(bench, "cut bread", meanwhile=camera)
    assert status == 1 and "column 40 and row 14 of the image" in printed


def test_a_planner_is_told_why_not(bench, vltp, camera):
    start(vltp)
    status, _, logged = pick(bench, "refuse me", meanwhile=camera)
    assert status == 1 and "not found: task is refused on request" in logged
    status, _, logged = pick(bench)
    assert status == 1 and "the goal was refused" in logged

"""Images of a camera driver that loads nothing of ours, between processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from bench import values
from diagnostic_msgs.msg import DiagnosticArray

from vltp_ros.node.process import PROFILES, PROFILES_2

HERE = Path(__file__).parent
PROFILE = HERE.parents[1] / "config" / "fastdds.xml"
COUNT = 20


@contextlib.contextmanager
def process(script, *arguments, **variables):
    """Run a script in an environment without a choice of transports, but for ``variables``."""
    chosen = ("FASTDDS", "FASTRTPS")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(chosen)} | variables
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as running:
        try:
            yield running
        finally:
            running.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(timeout=5)  # a driver may hang in the middleware: not our business
            running.kill()


class Node:
    """The node with the fake session, as a process."""

    def __init__(self, bench, **variables):
        self._bench = bench
        self._arrays = bench.listen(DiagnosticArray, "/diagnostics")
        self._process = process("fake_session.py", "--ros-args", "-p", "model:=/fake", **variables)
        self._running = None

    def __enter__(self):
        self._running = self._process.__enter__()
        self._bench.wait(self.status, seconds=60)
        return self

    def __exit__(self, *error):
        self._process.__exit__(*error)

    def status(self):
        """The newest diagnostic status of its camera."""
        statuses = (s for array in reversed(self._arrays) for s in array.status)
        return next((s for s in statuses if s.name.endswith("/image")), None)

    def see(self, width, height, reliability, **variables):
        """How many of a driver's images arrived, how many were lost, and the status then."""
        before = values(self.status())
        size = (width, height, COUNT, reliability)
        with process("stock_camera.py", *size, **variables) as driver:
            assert driver.stdout.readline() == "sent\n", driver.stderr.read()
            end = time.monotonic() + 6
            while sum(counts := self._since(before)) < COUNT and time.monotonic() < end:
                time.sleep(0.2)  # the last ones may be on their way
            judged = len(self._arrays) + 2  # the node judges a little later than it counts
            self._bench.wait(lambda: len(self._arrays) >= judged)
            return *counts, self.status()

    def see_all(self, *size, share=0.99, **variables):
        """As :meth:`see`, up to three times: a driver drops images when others take its time."""
        for _ in range(3):
            answer = self.see(*size, **variables)
            if answer[0] >= share * COUNT:
                return answer
        raise AssertionError(f"{answer[0]} of {COUNT} images arrived, {size}")

    def _since(self, before):
        after = values(self.status())
        return tuple(int(after[k]) - int(before[k]) for k in ("received", "lost on the way"))

    def end(self):
        """End it; what it has logged."""
        self._running.terminate()
        return self._running.communicate(timeout=15)[1]


def test_images_of_drivers_that_come_and_go(bench):
    with Node(bench) as node:
        for size in ((640, 480), (1280, 720), (1920, 1080)):
            *_, status = node.see_all(*size, "reliable")
            assert "arrive" not in status.message

        arrived, lost, status = node.see(640, 480, "best_effort")
        assert arrived + lost >= 0.8 * COUNT
        mend = f"set FASTDDS_DEFAULT_PROFILES_FILE={PROFILE} for it"
        is_lossy = lost > COUNT // 3  # Jazzy's Fast DDS may lose fewer
        if is_lossy:
            assert "/driver sends best effort" in status.message and mend in status.message
            assert status.level == status.WARN

        variables = {PROFILES: str(PROFILE), PROFILES_2: str(PROFILE)}
        *_, status = node.see_all(640, 480, "best_effort", share=0.8, **variables)
        assert "messages arrive" not in status.message

        node.see_all(640, 480, "reliable")
        # Told once, also of a driver that loses a little fewer than this test counts as many.
        assert is_lossy <= node.end().count(mend) <= 1


def test_the_users_transports_win(bench):
    with Node(bench, FASTDDS_BUILTIN_TRANSPORTS="UDPv4") as node:
        node.see_all(640, 480, "reliable")
        assert "fastdds.xml" not in node.end()
    with Node(bench) as node:
        assert f"{PROFILE} replaces Fast DDS's built-in transports" in node.end()

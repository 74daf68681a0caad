"""The ROS nodes as processes, on a network of their own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import psutil

END_SECONDS = 15  # for a process that was told to end
DOMAINS = 100  # 1 to this; more would need ports that Linux gives to others


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """Run rclpy with messages that stay between this process and its children.

    Raises ImportError without ROS 2.
    """
    import rclpy

    with free_domain() as domain:
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        rclpy.init()
        try:
            yield
        finally:
            rclpy.try_shutdown()


@contextlib.contextmanager
def free_domain() -> Iterator[int]:
    """Take the ROS domain that nobody who asks here has on this machine, for the longest time.

    Nodes are seen for some time after their end, by whoever comes to their domain.
    """
    files = {Path(tempfile.gettempdir(), f"vltp_ros_domain_{n}"): n for n in range(1, DOMAINS + 1)}
    # Where none was taken yet, not always 1: a container may share the network but not the files.
    for path in sorted(files, key=lambda path: (_given_back(path), random.random())):
        lock = _lock(path)
        if lock is not None:
            with lock:
                try:
                    yield files[path]
                finally:
                    with contextlib.suppress(PermissionError):  # another user's
                        os.utime(path)
            return
    raise RuntimeError(f"all of the ROS domains 1 to {DOMAINS} are taken on this machine")


def _given_back(path: Path) -> float:
    """Return when a domain was last given back, seconds; 0 if it never was taken."""
    return path.stat().st_mtime if path.exists() else 0.0


def _lock(path: Path) -> IO | None:
    """Lock a file until it is closed; None when somebody else has. It may be another user's."""
    if not path.exists():
        path.touch()
        with contextlib.suppress(PermissionError):  # another user was faster
            path.chmod(0o666)  # whoever has the domain notes when it is given back
    file = path.open()
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


class Processes:
    """The nodes that run."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen] = {}

    def start(self, name: str, parameters: Mapping[str, object]) -> None:
        """Start the node, by the name "node", or a module of this room, with parameters."""
        module = "vltp_ros.node.node" if name == "node" else f"vltp_ros.rig.{name}"
        command = [sys.executable, "-m", module, "--ros-args"]
        for key, value in parameters.items():
            command += ["-p", f"{key}:={value}"]
        # In a session of its own, so that Ctrl-C reaches it through this process only.
        self._running[name] = subprocess.Popen(command, stdout=sys.stderr, start_new_session=True)

    def check(self) -> None:
        """Raise RuntimeError once a process has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with status {process.returncode}; see above")

    def cpu_seconds(self, name: str) -> float:
        """Return the CPU time that a process and its children have used so far, all threads."""
        times = [process.cpu_times() for process in self._family(name)]
        return sum(time.user + time.system for time in times)

    def memory_mib(self, name: str) -> float:
        """Return the resident memory of a process and its children, MiB."""
        return sum(process.memory_info().rss for process in self._family(name)) / 2**20

    def _family(self, name: str) -> list[psutil.Process]:
        process = psutil.Process(self._running[name].pid)
        return [process, *process.children(recursive=True)]

    def end(self) -> None:
        """Interrupt all processes, and wait for their ends."""
        for process in self._running.values():
            process.send_signal(signal.SIGINT)
        for process in self._running.values():
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def running(parameters: Mapping[str, Mapping[str, object]]) -> Iterator[Processes]:
    """Run a process for each name, as :meth:`Processes.start` takes it, until the block ends."""
    processes = Processes()
    try:
        for name, values in parameters.items():
            processes.start(name, values)
        yield processes
    finally:
        processes.end()

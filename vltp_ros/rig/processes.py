"""The ROS nodes as processes, on a network of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

END_SECONDS = 15  # for a process that was told to end


def use_own_network() -> None:
    """Keep the ROS messages of this process and its children on this machine, to themselves."""
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"


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
        """Return the CPU time that a process has used so far, all threads. Linux only."""
        stat = Path(f"/proc/{self._running[name].pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

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

"""How each node runs as a process."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import rclpy
from rclpy import get_rmw_implementation_identifier
from rclpy.exceptions import InvalidHandle, ParameterException
from rclpy.executors import (
    Executor,
    ExternalShutdownException,
    SingleThreadedExecutor,
)
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.qos_overriding_options import InvalidQosOverridesError

from vltp_ros.node.executor import ThreadsExecutor
from vltp_ros.node.parameters import usage
from vltp_ros.node.worker import MODEL_THREAD
from vltp_ros.paths import shipped
from vltp_ros.runtime.allocator import keep_freed_memory

RCLError: type[RuntimeError] = rclpy_implementation.RCLError
REFUSALS = (
    ValueError,
    ParameterException,
    InvalidQosOverridesError,
    ModuleNotFoundError,
    RCLError,
)
AnyNode = TypeVar("AnyNode", bound=Node)

MANY_FAILURES = 50  # of callbacks in a second: the node cannot work
SEGMENT_BYTES = 8_600_000  # of shared memory, by config/fastdds.xml and Fast DDS's own ports
EXIT_SECONDS = 5.0  # for an image in progress when the process is to end
PROFILES, PROFILES_2 = "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"
TRANSPORTS = "FASTDDS_BUILTIN_TRANSPORTS"


def run(
    make_node: Callable[[], AnyNode],
    config: type,
    start: Callable[[AnyNode], None] | None = None,
    status: Callable[[AnyNode], int] = lambda node: 0,
    threads: int = 1,
) -> int:
    """Run one node until SIGINT or SIGTERM, its callbacks in so many threads.

    With ``--help`` it prints the parameters, which are those of the dataclass ``config``. ``start``
    is called before the node spins. Returns the exit status: what ``status`` says of the node once
    it is destroyed, or 2 when the node cannot be made of its arguments and parameters, or of what
    is installed, with one line that says why.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(usage(Path(sys.argv[0]).name, config))
        return 0
    keep_freed_memory()
    make_room_for_images()
    # rclpy's own handlers, which end the executor, come on top of this. Without it a second SIGINT
    # (a terminal's Ctrl-C reaches the node twice, once by way of `ros2 launch`) would break off the
    # end of the process.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        rclpy.init()
    except RCLError as error:
        print(_why_not_begun(error), file=sys.stderr)
        return 2
    node = executor = None
    ended = 0
    try:
        executor = SingleThreadedExecutor() if threads == 1 else ThreadsExecutor(threads)
        node = make_node()
        executor.add_node(node)
        if start is not None:
            start(node)
        spin(executor)
    except ExternalShutdownException:
        pass
    except Exception as error:
        # After a signal, whatever a callback was doing with the network fails.
        if rclpy.ok():
            if node is None and isinstance(error, REFUSALS):
                print(error, file=sys.stderr)
                return 2
            raise
    finally:
        if node is not None:
            node.destroy_node()  # ends what its callbacks wait for
            ended = status(node)
        _leave_model(ended)
        if executor is not None:
            executor.shutdown()
        rclpy.try_shutdown()
    return ended


def _why_not_begun(error: Exception) -> str:
    """Return in one line why ROS did not start in this process."""
    reason = " ".join(str(error).split())
    if os.environ.get("ROS_SECURITY_ENABLE", "").lower() == "true":
        keystore = os.environ.get("ROS_SECURITY_KEYSTORE")
        reason += f"; ROS_SECURITY_ENABLE is true, and ROS_SECURITY_KEYSTORE is {keystore!r}: it "
        reason += "has to be a keystore with an enclave for this node (docs/ros.md)"
    return reason


def spin(executor: Executor) -> None:
    """Run the callbacks until the executor or its context is shut down.

    One that fails is logged, and everything else goes on: rclpy's own spin ends, as it does for a
    request whose parameter has no known type. Only what fails again and again is raised.

    It also ends with InvalidHandle when one thread destroys a subscription while another waits for
    it or was about to call it (rclpy's issues 1142, 1206 and 1284), which is no failure.
    """
    failures: deque[float] = deque(maxlen=MANY_FAILURES)
    while True:
        try:
            return executor.spin()
        except ExternalShutdownException:
            raise
        except InvalidHandle as error:
            get_logger("rclpy").debug(f"something was destroyed while it was waited for: {error}")
        except Exception:
            failures.append(time.monotonic())
            often = len(failures) == MANY_FAILURES and failures[-1] - failures[0] < 1.0
            if often or not executor.context.ok():  # or a signal came, and the network is gone
                raise
            get_logger("vltp").error(f"a callback failed:\n{traceback.format_exc()}")


def _leave_model(status: int) -> None:
    """End the process at once where a thread is in the model: callbacks may wait for it for ever.

    The exit status is 1, with a traceback, when an exception is on its way out.
    """
    if not any(thread.name == MODEL_THREAD for thread in threading.enumerate()):
        return
    failed = sys.exc_info()[0] is not None
    if failed:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if failed else status)


def make_room_for_images() -> None:
    """Have Fast DDS use config/fastdds.xml in this process, unless the user chose otherwise."""
    if any(name in os.environ for name in (PROFILES, PROFILES_2, TRANSPORTS)):
        return
    if "fastrtps" not in get_rmw_implementation_identifier():
        return
    # Version 2, of Jazzy, knows only its own variable, and version 3 warns of that one.
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    is_version_2 = any(Path(prefix, "lib", "libfastrtps.so").exists() for prefix in prefixes)
    profiles = str(shipped("config/fastdds.xml"))
    os.environ[PROFILES_2 if is_version_2 else PROFILES] = profiles
    get_logger("vltp").info(
        f"{profiles} replaces Fast DDS's built-in transports in this process; set {PROFILES} or "
        f"{TRANSPORTS} to choose others"
    )
    warn_of_little_shared_memory()


def warn_of_little_shared_memory(directory: Path = Path("/dev/shm")) -> None:
    """Say so where our segment for images does not fit, as in a container that has 64 MB."""
    if not directory.is_dir():
        return
    usage = shutil.disk_usage(directory)
    if usage.free < 2 * SEGMENT_BYTES:
        get_logger("vltp").warning(
            f"{directory} has {usage.free / 1e6:.0f} of {usage.total / 1e6:.0f} MB left and each "
            f"ROS process takes {SEGMENT_BYTES / 1e6:.1f}: without, images go by the network and "
            "get lost. Give a container more (docker run --shm-size=512m, or --ipc=host); "
            "`fastdds shm clean` removes what crashed processes left"
        )

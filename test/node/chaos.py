"""Everything at once and at random: transitions, clients, faults of the model's process, the clock.

    python test/node/chaos.py --seconds 90 --seed 1

The last line counts what happened. The exit status is 1 when a request was never answered, when the
node ended, or when it does not work any more once it is left in peace.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from chaos_client import PATIENCE, STEP, Client
from rclpy.executors import SingleThreadedExecutor

from vltp_ros.evaluation.machine import measured_on
from vltp_ros.node import node, retries
from vltp_ros.node.process import spin
from vltp_ros.rig.processes import own_network


def chaos(seconds: float, seed: int) -> dict[str, int]:
    """Run it; return what the last line says. Raises AssertionError for a node that fails."""
    options = {
        "model": "/fine",
        "task": "cut bread",
        "use_sim_time": "true",
        "watchdog": 1.0,
        "load_timeout": 10.0,
    }
    arguments = itertools.chain(*(("-p", f"{key}:={value}") for key, value in options.items()))
    command = [sys.executable, __file__, "node", "--ros-args", *arguments, "--log-level", "fatal"]
    with own_network():
        process = subprocess.Popen(command, start_new_session=True)
        client = Client(psutil.Process(process.pid), seed)
        executor = SingleThreadedExecutor()
        executor.add_node(client)
        thread = threading.Thread(target=spin, args=(executor,))
        thread.start()
        try:
            client.wait_for_node()
            _while(seconds, process, client.act)
            client.settle()
            _until(lambda: not client.unanswered, process, client, "all requests are answered")
            before = client.masks
            _until(lambda: client.masks > before, process, client, "it works again")
            _until(lambda: not client.unanswered, process, client, "its last requests are, too")
        finally:
            executor.shutdown()
            thread.join()
            client.destroy_node()
            for child in psutil.Process(process.pid).children():
                child.resume()  # SIGKILL reaches a stopped process, but it is no zombie then
            process.terminate()
            status = process.wait(30)
    assert status == 0, f"the node ended with status {status}"
    counts = client.counts
    return {
        "transitions": counts["transitions"],
        "answers": counts["answers"],
        "refusals": counts["refusals"],
        "masks": client.masks,
        "clock jumps": counts["clock jumps"],
        "kills and stops": counts["kills and stops"],
        "restarts": client.restarts,
        "lost answers": client.unanswered,
    }


def _while(seconds: float, process: subprocess.Popen, act: Callable[[], None]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, f"the node ended with status {process.returncode}"
        act()
        time.sleep(STEP)


def _until(
    condition: Callable[[], bool], process: subprocess.Popen, client: Client, what: str
) -> None:
    """Wait in peace until something is so."""
    end = time.monotonic() + PATIENCE
    for step in itertools.count():
        if condition():
            return
        assert process.poll() is None, f"the node ended with status {process.returncode}"
        assert time.monotonic() < end, (
            f"not within {PATIENCE:.0f} s: {what}; {client.told}; {client.unanswered_kinds}"
        )
        client.tick()
        client.send_image()
        if step % 50 == 0:
            client.bring_up()
        time.sleep(STEP)


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print(f"seed {args.seed}", file=sys.stderr, flush=True)
    measured = {**measured_on(torch.device("cpu")), "seconds": args.seconds, "seed": args.seed}
    try:
        print(json.dumps(measured | chaos(args.seconds, args.seed)))
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # for faulty_session
    if sys.argv[1:2] == ["node"]:
        retries.RETRY_SECONDS = (0.1, 0.5)
        os.environ["PYTHONUNBUFFERED"] = "1"
        load = "faulty_session:FaultySession.load"
        sys.exit(node.main(load))
    sys.exit(main())

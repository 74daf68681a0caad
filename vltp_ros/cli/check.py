"""vltp check: is this installation right, and how fast is it."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from vltp_ros.cli.options import Command, DeviceOption


@dataclass
class Check(DeviceOption, Command):
    """Test what is installed on a device, then measure it; ends with 1 when a check fails.

    Needs no network, no model and no ROS: weights are random. With large models on a GPU it takes
    minutes.
    """

    quick: bool = False
    """Small models only: a minute or two."""


def run(args: Check) -> dict:
    """Check and measure, and say on stderr how far it is; ValueError for a bad device."""
    from vltp_ros.evaluation.check import check_installation
    from vltp_ros.runtime.device import resolve_device

    def tell(line: str) -> None:
        if not args.quiet:
            print(line, file=sys.stderr)

    return check_installation(resolve_device(args.device), args.quick, tell)


def describe(answer: dict) -> str:
    """Return the verdict; each result was told as it came."""
    failed = [check["name"] for check in answer["checks"] if check["passed"] is False]
    verdict = f"failed: {', '.join(failed)}" if failed else "all checks passed"
    return f"{answer['hardware']}, torch {answer['versions']['torch']}: {verdict}"


def status(answer: dict) -> int:
    """Return the exit status: 1 when a check failed."""
    return 0 if answer["passed"] else 1

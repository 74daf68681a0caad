"""A self-test of an installation: is what it computes right, and how long does it take."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import torch

from vltp_ros.evaluation.check_context import Context, NotApplicableError
from vltp_ros.evaluation.check_correctness import CHECKS
from vltp_ros.evaluation.check_timing import measurements
from vltp_ros.evaluation.machine import measured_on
from vltp_ros.kernels.choice import KERNELS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What one correctness check found."""

    name: str
    passed: bool | None  # None: it does not apply here
    detail: str  # the measured value beside the allowed one, or why it failed or does not apply
    seconds: float


def run_checks(device: torch.device, quick: bool, only: Sequence[str] = ()) -> Iterator[Outcome]:
    """Run the correctness checks, one after the other.

    Args:
        device: to check.
        quick: with small sizes only.
        only: names of the checks to run; empty: all of them.

    Raises:
        ValueError: for a name that no check has.
    """
    for name in only:
        if name not in CHECKS:
            raise ValueError(f"check is {name!r}; allowed: {', '.join(CHECKS)}")
    context = Context(device, quick)
    for name, check in CHECKS.items():
        if not only or name in only:
            yield _outcome(name, check, context)


def check_installation(
    device: torch.device, quick: bool, report: Callable[[str], None] = log.info
) -> dict:
    """Check an installation and measure it.

    Args:
        device: to check.
        quick: leave out what takes long: large sizes, and most of the timings.
        report: is told each result as it comes.

    Returns:
        ``hardware``, ``versions``, ``quick``, ``passed``, ``seconds``, ``checks`` (an
        :class:`Outcome` each), ``rows``: name, rate, dtype, device, median_ms, baseline_ms, ratio,
        peak_mib, and what else :mod:`vltp_ros.evaluation.check_timing` says of a row; and
        ``kernels``: of each Triton kernel and size, which way was measured to be faster.
    """
    began = time.perf_counter()
    outcomes = []
    for outcome in run_checks(device, quick):
        outcomes.append(outcome)
        report(describe_outcome(asdict(outcome)))
    rows = []
    for row in measurements(device, quick):
        rows.append(row)
        report(describe_row(row))
    return {
        **measured_on(device),
        "quick": quick,
        "passed": all(outcome.passed is not False for outcome in outcomes),
        "seconds": round(time.perf_counter() - began, 1),
        "checks": [asdict(outcome) for outcome in outcomes],
        "rows": rows,
        "kernels": KERNELS.table(),
    }


def describe_outcome(outcome: dict) -> str:
    """Return a line about a check."""
    word = {True: "ok", False: "FAILED", None: "-"}[outcome["passed"]]
    return f"{word:6} {outcome['name']}: {outcome['detail']} ({outcome['seconds']:.1f} s)"


def describe_row(row: dict) -> str:
    """Return a line about a measurement."""
    line = f"{row['median_ms']:9.2f} ms  {row['name']}"
    if row.get("rate") is not None:
        line += f" at {row['rate']:.0%}"
    if row.get("ratio"):
        line += f", {row['ratio']:.2f} x as fast as {row['baseline_ms']:.2f} ms"
    if row.get("ceiling_share") is not None:
        line += f", {row['ceiling_share']:.0%} of the ceiling"
    return line


def _outcome(name: str, check: Callable[[Context], str], context: Context) -> Outcome:
    """Run one check; whatever it raises is its failure."""
    began = time.perf_counter()
    passed: bool | None = True
    try:
        detail = check(context)
    except NotApplicableError as error:
        passed, detail = None, str(error)
    except Exception as error:  # the rest of the checks are to run
        log.debug("check %s", name, exc_info=True)
        passed, detail = False, f"{type(error).__name__}: {error}" if str(error) else repr(error)
    return Outcome(name, passed, detail, round(time.perf_counter() - began, 2))

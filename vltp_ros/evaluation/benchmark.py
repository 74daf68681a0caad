"""Time and memory of several candidates in one process, turn by turn."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from vltp_ros.network.run import Run, eager
from vltp_ros.progress import progress_bar
from vltp_ros.runtime import openvino
from vltp_ros.runtime.graphs import GraphRunner

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Candidate:
    """Something to be timed, and what a row says of it beside its figures."""

    work: Callable[[], object]
    row: dict
    captured: bool = False  # its memory is then a pool's that no counter sees


def benchmark(
    candidates: Sequence[Candidate],
    device: torch.device,
    *,
    repeats: int,
    progress: bool,
    against: Callable[[Candidate], Candidate | None],
) -> list[dict]:
    """Measure the candidates in turns, so that a machine that slows down slows all.

    Args:
        candidates: at least one.
        device: where they work; it is waited for.
        repeats: measurements of each.
        progress: show a bar on stderr.
        against: the baseline of a candidate, one of ``candidates``; None: it has none.

    Returns:
        For each candidate its ``row`` and median_ms, quartiles_ms, peak_mib (growth of memory
        during a run, the median of three; None where nobody tells), and with a baseline
        baseline_ms, ratio (baseline / candidate) and baseline_peak_mib.

    Raises:
        ValueError: for fewer than 3 repeats.
    """
    if repeats < 3:
        raise ValueError(f"repeats is {repeats}; it must be at least 3 to show a spread")
    for candidate in candidates:
        candidate.work()  # sets libraries up
    peaks = [_peak(candidate, device) for candidate in candidates]
    times = _in_turns(candidates, repeats, device, progress)
    rows = []
    for candidate, seconds, peak in zip(candidates, times, peaks, strict=True):
        first, median, third = statistics.quantiles(seconds, n=4)
        rows.append(
            {
                **candidate.row,
                "median_ms": round(1e3 * median, 2),
                "quartiles_ms": [round(1e3 * first, 2), round(1e3 * third, 2)],
                "peak_mib": peak,
            }
        )
    for candidate, row in zip(candidates, rows, strict=True):
        baseline = against(candidate)
        if baseline is not None:
            other = rows[candidates.index(baseline)]
            row |= {
                "baseline_ms": other["median_ms"],
                "ratio": round(other["median_ms"] / row["median_ms"], 3),
                "baseline_peak_mib": other["peak_mib"],
            }
    return rows


def ways_to_run(
    device: torch.device, capturable: bool = True, compilable: bool = False
) -> dict[str, Run]:
    """Return ``eager``, and ``captured`` on a GPU or ``compiled`` on a CPU, where that may be.

    To fail at it is an error.

    Args:
        device: where the work runs.
        capturable: False for work that no CUDA graph can hold, e.g. because it waits for the host.
        compilable: True for work that OpenVINO, where it is installed, can compile.
    """
    ways = {"eager": eager}
    if device.type == "cuda" and capturable:
        ways["captured"] = GraphRunner(device, fall_back=False)
    if device.type == "cpu" and compilable and openvino.is_installed():
        compiler = openvino.OpenVinoCompiler()
        ways["compiled"] = GraphRunner(device, fall_back=False, capturer=compiler)
    return ways


def _peak(candidate: Candidate, device: torch.device) -> float | None:
    """Return how much memory grows during a run, MiB; None where nobody tells."""
    if candidate.captured:
        return None
    gc.collect()
    # Some runs find the CPU's allocator in an odd state, and grow by three times as much.
    growths = [watched(candidate.work, device)[1] for _ in range(3)]
    known = [growth for growth in growths if growth is not None]
    return min(known, default=None)


def _in_turns(
    candidates: Sequence[Candidate], repeats: int, device: torch.device, progress: bool
) -> list[list[float]]:
    """Return the seconds of each run of each candidate."""
    times: list[list[float]] = [[] for _ in candidates]
    for _ in progress_bar(range(repeats), shown=progress):
        for candidate, seconds in zip(candidates, times, strict=True):
            _wait(device)
            start = time.perf_counter()
            candidate.work()
            _wait(device)
            seconds.append(time.perf_counter() - start)
    return times


def _wait(device: torch.device) -> None:
    """Wait until a GPU has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def watched(work: Callable[[], Answer], device: torch.device) -> tuple[Answer, float | None]:
    """Return what ``work`` returns and how much memory grew by, MiB; None where nobody tells.

    Garbage that ``work`` may reuse hides growth: the caller collects it before, once for many runs.
    """
    answer, memory = with_memory(work, device)
    return answer, None if memory is None else round(memory.peak - memory.before, 1)


@dataclass(frozen=True)
class Memory:
    """What the process held of a device's memory, MiB."""

    before: float
    peak: float


def with_memory(work: Callable[[], Answer], device: torch.device) -> tuple[Answer, Memory | None]:
    """Return what ``work`` returns and the memory held; None where nobody tells.

    On a GPU that is what PyTorch has allocated, on a CPU what of the process is resident.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        answer = work()
        return answer, Memory(before / 2**20, torch.cuda.max_memory_allocated(device) / 2**20)
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what the allocator holds back would hide the growth
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    except (OSError, AttributeError):
        return work(), None
    resident = _status_kib("VmRSS")
    answer = work()
    return answer, Memory(resident / 1024, _status_kib("VmHWM") / 1024)


def _status_kib(key: str) -> int:
    """Return an entry of this process's status, KiB. Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))

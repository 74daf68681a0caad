"""Latency, drops and CPU time of the node at fixed rates, with processes as on a robot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from vltp_ros.evaluation.machine import measured_on
from vltp_ros.rig.config import Outputs
from vltp_ros.rig.processes import own_network, running

if TYPE_CHECKING:
    from vltp_ros.rig.measurement import Measurement

PATIENCE = 180.0  # seconds for the model to load and the first mask to come
OUTSIDE = {"queue", "convert", "publish"}  # stages that are not the model's
TASK = "something to drive a nail"

VARIANTS = (("node", True), ("stub", True), ("stub", False))
"""Modules of the node and whether their model has a process of its own: what that costs shows in
the model that takes no time."""


def benchmark_node(
    rates: Sequence[float],
    sizes: Sequence[tuple[int, int]],
    seconds: float,
    model: Path | None,
    device: torch.device,
    baseline: bool = True,
    outputs: Sequence[Outputs] = ("mask",),
) -> dict:
    """Run camera, node and listener as processes, for each rate and size.

    Rates are in Hz, sizes (width, height) in pixels.

    Each is measured with the model, and as a baseline with one that takes no time, in a process of
    its own and in a thread of the node. Somebody listens to timing and to the mask, to the
    instances, or to all outputs, with depth.

    Returns:
        ``hardware``, ``versions`` and ``rows``: width, height, rate, outputs, model_process
        (whether the model has a process of its own), model, masks_per_second, latency_ms (from
        stamp to publication), overhead_ms (from callback to publication, without waiting for the
        model and without its stages), queue_ms, inference_ms (each ``p50`` and ``p99``), dropped
        (replaced by a newer image in the node), lost (never reached the node, or still on the way),
        cpu (seconds of the node's and the model's process a second), cpu_ms_per_mask, memory_mib
        (resident, of both processes, at eleven moments from the first to the last).

    Raises:
        RuntimeError: when ROS 2 is missing, a process ends, or no mask comes.
    """
    try:
        import vltp_ros.rig.measurement  # noqa: F401
    except ImportError as error:
        raise RuntimeError(
            f"the benchmark needs ROS 2 and the built messages ({error}); see the README"
        ) from error
    with own_network():
        rows = [
            _measured(width, height, rate, listened, seconds, model, device, module, own_process)
            for width, height in sizes
            for rate in rates
            for listened in outputs
            for module, own_process in (VARIANTS if baseline else VARIANTS[:1])
        ]
    return {**measured_on(device), "seconds": seconds, "rows": rows}


def _measured(
    width: int,
    height: int,
    rate: float,
    outputs: Outputs,
    seconds: float,
    model: Path | None,
    device: torch.device,
    module: str,
    own_process: bool,
) -> dict:
    """Measure one row."""
    from vltp_ros.rig.measurement import measure

    node = {"task": f"'{TASK}'", "device": str(device), "threads": torch.get_num_threads()}
    node["model_process"] = str(own_process).lower()
    node |= {"model": model} if model else {}
    depth = str(outputs == "all").lower()
    node["depth"] = depth
    camera = {"width": width, "height": height, "rate": float(rate), "depth": depth}
    with running({module: node, "still_camera": camera}) as processes:
        cpu: list[float] = []
        memory: list[float] = []

        def check() -> None:
            processes.check()
            if cpu:
                memory.append(processes.memory_mib(module))

        measurement = measure(
            outputs,
            seconds,
            PATIENCE,
            check,
            begin=lambda: cpu.append(processes.cpu_seconds(module)),
        )
        spent = processes.cpu_seconds(module) - cpu[0]
    row = {"width": width, "height": height, "rate": rate, "outputs": outputs}
    row["model_process"] = own_process
    moments = np.linspace(0, len(memory) - 1, 11).round().astype(int)
    return row | summary(measurement, spent) | {"memory_mib": [memory[i] for i in moments]}


def summary(measurement: Measurement, cpu_seconds: float) -> dict:
    """Return what the messages say together. Raises ValueError for fewer than two."""
    timings, seconds = measurement.timings, measurement.seconds
    if len(timings) < 2:
        raise ValueError(f"{len(timings)} answers within {seconds:.0f} s; measure for longer")
    stages = [{stage.name: stage.milliseconds for stage in timing.stages} for timing in timings]
    inference = [sum(v for k, v in row.items() if k not in OUTSIDE) for row in stages]
    queue = [row["queue"] for row in stages]
    totals = [timing.total_ms for timing in timings]
    first, last = timings[0], timings[-1]
    sent = int(last.header.frame_id) - int(first.header.frame_id)
    received, dropped = last.received - first.received, last.dropped - first.dropped
    return {
        "model": last.model,
        "masks_per_second": measurement.masks / seconds,
        "latency_ms": _percentiles([timing.latency_ms for timing in timings]),
        "overhead_ms": _percentiles(np.subtract(np.subtract(totals, queue), inference)),
        "queue_ms": _percentiles(queue),
        "inference_ms": _percentiles(inference),
        "dropped": dropped,
        "lost": max(0, sent - received),
        "cpu": cpu_seconds / seconds,
        "cpu_ms_per_mask": 1e3 * cpu_seconds / len(timings),
    }


def _percentiles(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    p50, p99 = np.percentile(values, (50, 99))
    return {"p50": float(p50), "p99": float(p99)}

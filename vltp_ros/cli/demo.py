"""vltp demo: camera, planner and node over ROS 2, recorded as a video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vltp_ros.cli.options import Command, ModelOptions, PrecisionOption

if TYPE_CHECKING:
    from vltp_ros.rig.demo_video import VideoFrame

PATIENCE = 120.0  # seconds for the model to load and the first mask to come
GIF_SECONDS = 10.0
GIF_BYTES = 3_000_000


@dataclass
class Demo(ModelOptions, PrecisionOption, Command):
    """Run a simulated camera, a planner and the node as processes, and record a video of them."""

    seconds: float = 20.0
    """Time to record from the first mask on, in seconds."""
    out: Path = Path("demo_out")
    """Folder for demo.mp4 and demo.gif."""
    seed: int = 6
    """Seed of the first scene; in that of 6, three things serve one task."""


def run(args: Demo) -> dict:
    """Record, then draw; RuntimeError when ROS 2 is missing, a process ends, or no mask comes."""
    from vltp_ros.evaluation.machine import measured_on
    from vltp_ros.rig.demo_video import write_gif, write_video
    from vltp_ros.rig.processes import own_network, running
    from vltp_ros.runtime.device import resolve_device

    if not args.seconds > 0:
        raise ValueError(f"--seconds is {args.seconds}; it must be above 0")
    machine = measured_on(resolve_device(args.device))
    args.out.mkdir(parents=True, exist_ok=True)
    node = {
        "device": args.device,
        "precision": args.precision,
        **({"model": args.model} if args.model else {}),
        **({"quantization": args.quantization} if args.quantization else {}),
    }
    try:
        from vltp_ros.rig.recorder import record
    except ImportError as error:
        raise RuntimeError(
            f"the demo needs ROS 2 and the built messages ({error}); run `make demo`, or build "
            "the package with colcon and source install/setup.bash"
        ) from error
    with own_network(), running({"node": node}) as processes:

        def begin() -> None:
            processes.start("planner", {})
            processes.start("sim_camera", {"seed": args.seed})

        recorded = record(args.seconds, PATIENCE, processes.check, begin)
    if not recorded.frames:
        raise RuntimeError(f"no mask came within {PATIENCE:.0f} s; the nodes' messages are above")
    video, gif = args.out / "demo.mp4", args.out / "demo.gif"
    write_video(video, recorded.frames)
    write_gif(gif, recorded.frames, GIF_SECONDS, GIF_BYTES)
    return {
        **_summary(recorded.frames),
        **machine,
        "latency_ms": _quantiles(recorded.latencies_ms),
        "received": recorded.received,
        "dropped": recorded.dropped,
        "video": str(video),
        "gif": str(gif),
    }


def describe(answer: dict) -> str:
    """Return the stages' times as a table, and the rate of masks."""
    lines = [f"{'stage':16} {'median ms':>9}"]
    lines += [f"{stage['name']:16} {stage['median_ms']:9.1f}" for stage in answer["stages"]]
    latency = answer["latency_ms"]
    lines += [
        "",
        f"{answer['masks']} masks over the wire, {answer['masks_per_second']:.1f} a second; "
        f"{answer['dropped']} of {answer['received']} images dropped for newer ones",
        f"stamp to publish: median {latency['median']:.0f} ms, p99 {latency['p99']:.0f} ms",
        f"{answer['video']}  {answer['gif']}",
    ]
    return "\n".join(lines)


def _summary(frames: list[VideoFrame]) -> dict:
    """Return count, rate and median times of the masks."""
    span = frames[-1].seconds - frames[0].seconds
    names = frames[0].times_ms
    return {
        "masks": len(frames),
        "masks_per_second": (len(frames) - 1) / span if span else 0.0,
        "stages": [
            {
                "name": n,
                "median_ms": float(np.median([frame.times_ms.get(n, 0) for frame in frames])),
            }
            for n in names
        ],
    }


def _quantiles(values: list[float]) -> dict[str, float]:
    """Return median and 99th percentile."""
    median, p99 = np.percentile(values, (50, 99))
    return {"median": float(median), "p99": float(p99)}

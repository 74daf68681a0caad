"""What converting an image costs: by our code and by the cv_bridge that is installed, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import cv2
import numpy as np
import torch

from vltp_ros.evaluation.machine import measured_on
from vltp_ros.imaging.images import ENCODINGS, to_rgb

PATIENCE = 60.0  # seconds for cv_bridge's trial


def benchmark_images(width: int, height: int, repeats: int) -> dict:
    """Convert images of noise, whose rows are not padded, to rgb8.

    Args:
        width: of the images, pixels.
        height: of the images, pixels.
        repeats: measurements of each encoding.

    Returns:
        ``hardware``, ``versions``, ``width``, ``height`` and ``rows``: for each encoding name,
        median_ms (of our code), by (who converts it in the node, "ours" or "cv_bridge"), and where
        cv_bridge gives the same pixels baseline_ms (of cv_bridge) and ratio (baseline / ours).

    Raises:
        RuntimeError: when ROS 2 is missing.
        ValueError: for a size that not every encoding can have, or no repeats.
    """
    try:
        from vltp_ros.node.bridge import Bridge
        from vltp_ros.node.bridge_trial import gives_the_same, noise
    except ImportError as error:
        raise RuntimeError(f"the benchmark needs ROS 2 ({error}); see the README") from error
    if width % 2 or height % 2 or not width or not height:
        raise ValueError(f"the size is {width}x{height}; width and height must be even")
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}; it must be at least 1")
    machine = measured_on(torch.device("cpu"))
    machine["versions"] |= {"numpy": np.__version__, "opencv": cv2.__version__}
    encodings = Bridge().encodings(PATIENCE)
    cv_bridge = None
    if encodings:
        cv_bridge = _cv_bridge()
        machine["versions"]["cv_bridge"] = version("cv_bridge")
    rows = []
    for name in ENCODINGS:
        image = noise(name, height, width)
        works: list[Callable[[], Any]] = [partial(to_rgb, image, name)]
        if cv_bridge is not None and gives_the_same(cv_bridge, image):
            works.append(partial(cv_bridge.imgmsg_to_cv2, image, "rgb8"))
        median_ms, *baseline_ms = _medians_ms(works, repeats)
        row = {"name": name, "median_ms": round(median_ms, 3)}
        row["by"] = "cv_bridge" if name in encodings else "ours"
        for milliseconds in baseline_ms:
            row["baseline_ms"] = round(milliseconds, 3)
            row["ratio"] = round(milliseconds / median_ms, 3)
        rows.append(row)
    return {**machine, "width": width, "height": height, "rows": rows}


def _cv_bridge() -> Any:
    from cv_bridge import CvBridge

    return CvBridge()


def _medians_ms(works: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Return the median time of each, in turns."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, taken in zip(works, times, strict=True):
            began = time.perf_counter()
            work()
            taken.append(1e3 * (time.perf_counter() - began))
    return [statistics.median(taken) for taken in times]

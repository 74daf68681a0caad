"""The fields of answers' messages as plain values, for rclpy's types and rosbags' alike.

Headers, durations and data are left out: each library has its own types for them.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from vltp_ros.imaging.images import centroid
from vltp_ros.imaging.instances import Instance
from vltp_ros.types import Box, Segmentation


def image_fields(pixels: np.ndarray) -> dict[str, Any]:
    """Return the fields of a sensor_msgs/Image but its header and data.

    Args:
        pixels: uint8 [H, W, 3] RGB, or uint8, uint16 or float32 [H, W].
    """
    height, width = pixels.shape[:2]
    levels = "rgb8" if pixels.ndim == 3 else "mono8"
    encodings = {np.dtype(np.float32): "32FC1", np.dtype(np.uint16): "16UC1"}
    return {
        "height": height,
        "width": width,
        "encoding": encodings.get(pixels.dtype, levels),
        "is_bigendian": int(sys.byteorder == "big"),
        "step": pixels.nbytes // height,
    }


def box_fields(box: Box) -> dict[str, Any]:
    """Return the fields of a sensor_msgs/RegionOfInterest."""
    x, y, width, height = box
    return {"x_offset": x, "y_offset": y, "width": width, "height": height, "do_rectify": False}


def affordance_fields(result: Segmentation, task: str, number: int, model: str) -> dict[str, Any]:
    """Return the fields of a vltp_ros/AffordanceMask but its header and what holds messages.

    Args:
        result: the answer to one task on one image.
        task: the sentence.
        number: id of the task.
        model: name of the model.
    """
    x, y, width, height = result.box
    column, row = centroid(result.mask[y : y + height, x : x + width])
    return {
        "task": task,
        "id": number,
        "found": result.found,
        "score": float(result.score),
        "centroid_x": x + column,
        "centroid_y": y + row,
        "area": result.area,
        "kept_tokens": [int(kept.sum()) for kept in result.kept],
        "total_tokens": result.kept[0].size if result.kept else 0,
        "model": model,
    }


def instance_fields(instance: Instance) -> dict[str, Any]:
    """Return the fields of a vltp_ros/AffordanceInstance but those that hold messages."""
    column, row = instance.centroid
    return {
        "id": instance.track,
        "score": instance.score,
        "centroid_x": column,
        "centroid_y": row,
        "area": instance.area,
        "kept_tokens": list(instance.kept),
        "total_tokens": instance.tokens,
        "located": instance.placement is not None,
        "points": 0 if instance.placement is None else instance.placement.points,
    }

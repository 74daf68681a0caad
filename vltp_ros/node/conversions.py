"""Between ROS messages and what the model takes and gives."""

from __future__ import annotations

import array
import math
from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from rclpy.duration import Duration
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header

from vltp_ros.imaging.geometry import Placement, quaternion
from vltp_ros.imaging.images import to_grey
from vltp_ros.imaging.instances import Instance
from vltp_ros.imaging.messages import (
    affordance_fields,
    box_fields,
    image_fields,
    instance_fields,
)
from vltp_ros.msg import AffordanceInstance, AffordanceMask, InferenceTiming, StageTiming, Task
from vltp_ros.node.inference import Inference
from vltp_ros.types import Segmentation


def to_image(pixels: np.ndarray, header: Header) -> Image:
    """Return an image message, whose header is ``header`` itself, not a copy.

    Args:
        pixels: uint8 [H, W, 3] RGB, or uint8, uint16 or float32 [H, W].
        header: of the message.
    """
    message = Image(header=header, **image_fields(pixels))
    message.data = to_bytes(pixels)
    return message


def to_bytes(values: np.ndarray) -> array.array[int]:
    """Return an array's bytes as messages hold them; rclpy checks any other type byte by byte."""
    data = array.array("B")
    data.frombytes(values.reshape(-1).view(np.uint8).data)
    return data


def to_affordance(
    result: Segmentation,
    instances: Sequence[AffordanceInstance],
    header: Header,
    task: Task,
    model: str,
) -> AffordanceMask:
    """Return the message for one answer, without its full-size mask."""
    return AffordanceMask(
        header=header,
        box=RegionOfInterest(**box_fields(result.box)),
        seg_age=Duration(seconds=result.seg_age_s).to_msg(),
        instances=instances,
        **affordance_fields(result, task.text, task.id, model),
    )


def to_instance(instance: Instance, header: Header) -> AffordanceInstance:
    """Return the message for one of the things that an answer is about."""
    message = AffordanceInstance(
        box=RegionOfInterest(**box_fields(instance.box)),
        mask=to_image(to_grey(instance.mask), header),
        **instance_fields(instance),
    )
    if instance.placement is not None:
        message.pose, message.extent = to_pose(instance.placement)
    return message


def to_pose(placement: Placement) -> tuple[Pose, Vector3]:
    """Return pose and extent of something in space."""
    position, turn, extent = (
        dict(zip(names, map(float, values), strict=True))
        for names, values in (
            ("xyz", placement.position),
            ("xyzw", quaternion(placement.axes)),
            ("xyz", placement.extent),
        )
    )
    pose = Pose(position=Point(**position), orientation=Quaternion(**turn))
    return pose, Vector3(**extent)


def to_timing(inference: Inference, times_ms: dict[str, float]) -> InferenceTiming:
    """Return the message about one image's times, milliseconds.

    ``total`` and ``latency`` are no stages.

    The device and the counts of images are left to the caller.
    """
    summary = {"total", "latency"}
    return InferenceTiming(
        header=inference.frame.message.header,
        tasks=inference.tasks,
        model=inference.model,
        rates=inference.results[0].rates,
        csp=0 if inference.results[0].csp == "off" else int(inference.results[0].csp),
        missed=inference.missed_deadlines,
        stages=[
            StageTiming(name=name, milliseconds=float(value))
            for name, value in times_ms.items()
            if name not in summary
        ],
        total_ms=times_ms.get("total", sum(times_ms.values())),
        latency_ms=times_ms.get("latency", math.nan),
    )

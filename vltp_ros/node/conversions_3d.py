"""Between ROS messages and depth, cameras, poses and points."""

from __future__ import annotations

import array

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from vltp_ros.imaging.geometry import Pinhole, Placement
from vltp_ros.imaging.images import ConversionError, rows_of
from vltp_ros.imaging.instances import Instance
from vltp_ros.msg import Affordance3D, Task
from vltp_ros.node.conversions import to_pose

DEPTHS: dict[str, tuple[np.dtype, float]] = {  # encoding -> type, metres for one
    "16UC1": (np.dtype(np.uint16), 0.001),
    "mono16": (np.dtype(np.uint16), 0.001),
    "32FC1": (np.dtype(np.float32), 1.0),
}


def to_depth(message: Image, topic: str) -> np.ndarray:
    """Return a depth image (REP 118) as float32 [H, W] metres, NaN where it is unknown.

    Raises ConversionError.
    """
    if message.encoding not in DEPTHS:
        raise ConversionError(
            f"{topic}: encoding {message.encoding[:40]!r} is no depth; allowed: {', '.join(DEPTHS)}"
        )
    kind, metres = DEPTHS[message.encoding]
    data = rows_of(message, message.width * kind.itemsize, message.height, topic)
    raw = np.ascontiguousarray(data).view(kind.newbyteorder(">" if message.is_bigendian else "<"))
    depth = raw.astype(np.float32) * np.float32(metres)
    depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
    return depth


def to_pinhole(message: CameraInfo, topic: str) -> Pinhole:
    """Return the camera of rectified images. Raises ConversionError unless it is calibrated."""
    matrix, row = (message.p, 4) if message.p[0] else (message.k, 3)
    try:
        return Pinhole(
            fx=matrix[0],
            fy=matrix[row + 1],
            cx=matrix[2],
            cy=matrix[row + 2],
            width=message.width,
            height=message.height,
        )
    except ValueError as error:
        raise ConversionError(f"{topic}: {error}") from error


def to_affordance_3d(
    placement: Placement, instance: Instance, header: Header, task: Task
) -> Affordance3D:
    """Return the message about where one thing is."""
    pose, extent = to_pose(placement)
    return Affordance3D(
        header=header,
        task=task.text,
        id=task.id,
        instance=instance.track,
        score=instance.score,
        pose=pose,
        extent=extent,
        points=placement.points,
    )


def to_cloud(
    points: np.ndarray, colours: np.ndarray, numbers: np.ndarray, header: Header
) -> PointCloud2:
    """Return a message of points.

    Args:
        points: float32 [N, 3] metres.
        colours: uint8 [N, 3] RGB.
        numbers: uint32 [N], ids of the instances that they belong to.
        header: of the message.
    """
    packed = np.zeros(len(points), [("xyz", "<f4", 3), ("rgb", "<u4"), ("instance", "<u4")])
    packed["xyz"] = points
    red, green, blue = colours.astype(np.uint32).T
    packed["rgb"] = red << 16 | green << 8 | blue
    packed["instance"] = numbers
    fields = [
        PointField(
            name=name,
            offset=4 * number,
            datatype=PointField.UINT32 if name == "instance" else PointField.FLOAT32,
            count=1,
        )
        for number, name in enumerate(("x", "y", "z", "rgb", "instance"))
    ]
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=fields,
        point_step=packed.itemsize,
        row_step=packed.nbytes,
        data=array.array("B", packed.tobytes()),
        is_dense=True,
    )

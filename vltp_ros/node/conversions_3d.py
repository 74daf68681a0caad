"""Between ROS messages and depth, cameras, poses and points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from vltp_ros.imaging.geometry import Pinhole, Placement
from vltp_ros.imaging.images import ConversionError, rows_of
from vltp_ros.imaging.instances import Instance
from vltp_ros.msg import Affordance3D, Task
from vltp_ros.node.conversions import to_bytes, to_pose

DEPTHS: dict[str, tuple[np.dtype, float]] = {  # encoding -> type, metres for one
    "16UC1": (np.dtype(np.uint16), 0.001),
    "mono16": (np.dtype(np.uint16), 0.001),
    "32FC1": (np.dtype(np.float32), 1.0),
}

FISHEYE = "equidistant"
LENSES = {  # distortion_model -> how many values OpenCV knows of it
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    FISHEYE: (4,),
}


@dataclass(frozen=True)
class DepthImage:
    """A depth image as it came, converted where it is looked at: most of it never is."""

    values: np.ndarray  # uint16 or float32 [h, w]
    unit: float  # metres

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return self.values.shape

    def __getitem__(self, part: Any) -> np.ndarray:
        """Return a part, float32 metres, NaN where it is unknown."""
        depth = self.values[part].astype(np.float32) * np.float32(self.unit)
        depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
        return depth


def to_depth(message: Image, topic: str) -> DepthImage:
    """Return a depth image (REP 118). Raises ConversionError."""
    if message.encoding not in DEPTHS:
        raise ConversionError(
            f"{topic}: encoding {message.encoding[:40]!r} is no depth; allowed: {', '.join(DEPTHS)}"
        )
    kind, metres = DEPTHS[message.encoding]
    data = rows_of(message, message.width * kind.itemsize, message.height, topic)
    kind = kind.newbyteorder(">" if message.is_bigendian else "<")
    return DepthImage(np.ascontiguousarray(data).view(kind), metres)


def to_pinhole(message: CameraInfo, topic: str, rectified: bool = True) -> Pinhole:
    """Return the camera that took an image, or would have taken it without distortion.

    What P says of another camera of a stereo pair is left out: the frame is this camera's own.

    Args:
        message: about the whole sensor, and what of it the image shows.
        topic: for errors.
        rectified: whether the image is; only one that is not has the lens's distortion.

    Raises:
        ConversionError: unless the camera is calibrated, by a model that is known.
    """
    matrix, row = (message.p, 4) if rectified and message.p[0] else (message.k, 3)
    across, down = max(message.binning_x, 1), max(message.binning_y, 1)
    try:
        left, top, width, height = _window(message)
        # As image_geometry has it: the window is one of the sensor, whose pixels are then binned.
        return Pinhole(
            fx=matrix[0] / across,
            fy=matrix[row + 1] / down,
            cx=(matrix[2] - left) / across,
            cy=(matrix[row + 2] - top) / down,
            width=width // across,
            height=height // down,
            distortion=() if rectified else _distortion(message),
            fisheye=message.distortion_model == FISHEYE,
        )
    except ValueError as error:
        raise ConversionError(f"{topic}: {error}") from error


def _window(message: CameraInfo) -> tuple[int, int, int, int]:
    """Return the part of the sensor that an image shows: left, top, width and height, pixels."""
    roi = message.roi
    window = (roi.x_offset, roi.y_offset, roi.width, roi.height)
    if not any(window):
        return 0, 0, message.width, message.height
    ends = (roi.x_offset + roi.width, roi.y_offset + roi.height)
    if not (roi.width and roi.height and ends[0] <= message.width and ends[1] <= message.height):
        raise ValueError(
            f"roi is {roi.width}x{roi.height} at column {roi.x_offset} and row {roi.y_offset}; it "
            f"must be a part of {message.width}x{message.height}, or all zero"
        )
    return window


def _distortion(message: CameraInfo) -> tuple[float, ...]:
    """Return the distortion of a lens, empty where there is none."""
    values = tuple(message.d)
    if not any(values):
        return ()
    numbers = LENSES.get(message.distortion_model)
    if numbers is None:
        raise ValueError(
            f"distortion_model is {message.distortion_model[:40]!r}; allowed: {', '.join(LENSES)}; "
            "or rectify the images, and set rectified"
        )
    if len(values) not in numbers:
        raise ValueError(
            f"d has {len(values)} values; {message.distortion_model} has "
            f"{' or '.join(map(str, numbers))}"
        )
    return values


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
    # "rgb" is a number, of which blue is the lowest byte.
    packed = np.zeros(len(points), [("xyz", "<f4", 3), ("bgr", "u1", 4), ("instance", "<u4")])
    packed["xyz"] = points
    packed["bgr"][:, :3] = colours[:, ::-1]
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
        data=to_bytes(packed),
        is_dense=True,
    )

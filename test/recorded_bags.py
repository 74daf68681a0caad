"""Small real bags of images, written with rosbags."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rosbags import rosbag2
from rosbags.typesys import Stores, get_typestore

TYPES = get_typestore(Stores.ROS2_HUMBLE)
PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def header(second: int):
    stamp = TYPES.types["builtin_interfaces/msg/Time"](sec=second, nanosec=7)
    return TYPES.types["std_msgs/msg/Header"](stamp=stamp, frame_id="eye")


def image(second: int, encoding: str = "rgb8"):
    return TYPES.types["sensor_msgs/msg/Image"](
        header=header(second),
        height=48,
        width=64,
        encoding=encoding,
        is_bigendian=0,
        step=3 * 64,
        data=PIXELS.ravel(),
    )


def serialised(message) -> bytes:
    return bytes(TYPES.serialize_cdr(message, message.__msgtype__))


def write_bag(path: Path, *raw: bytes) -> None:
    """Write a bag of these serialised images on /camera."""
    with rosbag2.Writer(path, version=9, storage_plugin=rosbag2.StoragePlugin.SQLITE3) as writer:
        kind = "sensor_msgs/msg/Image"
        connection = writer.add_connection("/camera", kind, typestore=TYPES)
        for number, data in enumerate(raw):
            writer.write(connection, 1000 + number, data)

"""Images in every encoding, as cameras send them, with the fields of messages but no ROS."""

from __future__ import annotations

import array
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass
class PlainImage:
    """The fields of sensor_msgs/Image but its header."""

    height: int
    width: int
    encoding: str
    step: int
    is_bigendian: int
    data: array.array


@dataclass
class PlainCompressedImage:
    """The fields of sensor_msgs/CompressedImage but its header."""

    format: str
    data: array.array


CHANNELS = {  # of an encoding without its depth, as they lie in memory; A is alpha
    "rgb": "RGB",
    "bgr": "BGR",
    "rgba": "RGBA",
    "bgra": "BGRA",
    "mono": "R",
    "8UC1": "R",
    "8UC3": "BGR",
    "8UC4": "BGRA",
}


def message(pixels: np.ndarray, encoding: str, padding=0, big_endian=False) -> PlainImage:
    """``pixels`` [rows, W, C] with ``padding`` bytes of 0xAB after each row."""
    if pixels.dtype == np.uint16:
        pixels = pixels.astype(">u2" if big_endian else "<u2")
    rows = np.frombuffer(pixels.tobytes(), np.uint8).reshape(len(pixels), -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    return PlainImage(
        height=len(pixels),
        width=pixels.shape[1],
        encoding=encoding,
        step=padded.shape[1],
        is_bigendian=int(big_endian),
        data=array.array("B", padded.tobytes()),
    )


def encode(rgb: np.ndarray, encoding: str, padding=0, big_endian=False) -> PlainImage:
    """A message of ``rgb`` (uint8 [H, W, 3], even H and W); of mono, its red."""
    if encoding.startswith("nv"):
        luma, chroma = _yuv(rgb)
        halved = chroma[::2, ::2] if encoding == "nv12" else chroma[::2, ::2, ::-1]
        planes = np.concatenate([luma, halved.reshape(-1, rgb.shape[1], 1)])
        sent = message(planes, encoding, padding)
        sent.height = len(rgb)
        return sent
    if encoding in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv"):
        luma, chroma = _yuv(rgb)
        alternating = np.where(
            np.arange(rgb.shape[1])[:, None] % 2, chroma[..., 1:], chroma[..., :1]
        )
        pair = [alternating, luma] if encoding in ("yuv422", "uyvy") else [luma, alternating]
        return message(np.concatenate(pair, 2), encoding, padding)
    depth = 16 if encoding.endswith("16") else 8
    name = encoding.removesuffix(str(depth))
    if name.startswith("bayer_"):
        channels = np.array(["rgb".index(letter) for letter in name[6:]]).reshape(2, 2)
        rows, columns = np.indices(rgb.shape[:2])
        pixels = rgb[rows, columns, channels[rows % 2, columns % 2]][..., None]
    else:
        alpha = np.full((*rgb.shape[:2], 1), 7, np.uint8)
        order = ["RGBA".index(letter) for letter in CHANNELS[name]]
        pixels = np.concatenate([rgb, alpha], 2)[..., order]
    if depth == 16:
        pixels = pixels.astype(np.uint16) * 257 ^ 99  # not near a rounding's edge
    return message(pixels, encoding, padding, big_endian)


def _yuv(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Y [H, W, 1] and U and V [H, W, 2] of ITU-R BT.601 video range."""
    height, width = rgb.shape[:2]
    planes = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).ravel()
    luma = planes[: height * width].reshape(height, width, 1)
    chroma = planes[height * width :].reshape(2, height // 2, width // 2)
    return luma, chroma.transpose(1, 2, 0).repeat(2, 0).repeat(2, 1)

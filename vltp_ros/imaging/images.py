"""Pixels out of image messages. Knows no ROS: a message is anything with the fields of one."""

from __future__ import annotations

import io
import math
from typing import Protocol

import cv2
import numpy as np
import PIL.Image
import simplejpeg


class ImageLike(Protocol):
    """Has the fields of sensor_msgs/Image."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: bytes | np.ndarray


class CompressedImageLike(Protocol):
    """Has the fields of sensor_msgs/CompressedImage."""

    format: str
    data: bytes | np.ndarray


# Encoding -> channels and OpenCV's conversion to RGB. OpenCV names a Bayer pattern after its
# second row and column, ROS after the first. ROS leaves the order of 8UC3 and 8UC4 open: OpenCV's,
# blue first, is taken.
ENCODINGS = {
    "rgb8": (3, None),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, cv2.COLOR_GRAY2RGB),
    "8UC3": (3, cv2.COLOR_BGR2RGB),
    "8UC4": (4, cv2.COLOR_BGRA2RGB),
    "rgb16": (3, None),
    "rgba16": (4, cv2.COLOR_RGBA2RGB),
    "bgr16": (3, cv2.COLOR_BGR2RGB),
    "bgra16": (4, cv2.COLOR_BGRA2RGB),
    "mono16": (1, cv2.COLOR_GRAY2RGB),
    "bayer_rggb8": (1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": (1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": (1, cv2.COLOR_BayerGB2RGB),
    "bayer_rggb16": (1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr16": (1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg16": (1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg16": (1, cv2.COLOR_BayerGB2RGB),
    "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (2, cv2.COLOR_YUV2RGB_YUY2),
    "nv12": (1, cv2.COLOR_YUV2RGB_NV12),
    "nv21": (1, cv2.COLOR_YUV2RGB_NV21),
}

MAX_PIXELS = 1 << 26  # of a compressed image: a few bytes of it may claim to be any number
# The first bytes of a file and the last, before zeros that some cameras add.
COMPRESSED = {"JPEG": (b"\xff\xd8\xff", b"\xff\xd9"), "PNG": (b"\x89PNG", b"IEND\xaeB`\x82")}


class ConversionError(ValueError):
    """A message that cannot be used; says which value, from which topic, and what is allowed."""


def to_rgb(message: ImageLike, topic: str) -> np.ndarray:
    """Return a message's pixels, uint8 [H, W, 3] RGB; a view of its data where no work is needed.

    Channels of 16 bits are scaled and rounded, as by cv_bridge. Raises ConversionError.
    """
    pixels = encoded_pixels(message, topic)
    _, conversion = ENCODINGS[message.encoding]
    if conversion is not None:
        try:
            pixels = cv2.cvtColor(pixels, conversion)
        except cv2.error as error:
            raise ConversionError(
                f"{topic}: {message.width}x{message.height} is not a size that {message.encoding} "
                "can have; the pattern needs an even width and height"
            ) from error
    return cv2.convertScaleAbs(pixels, alpha=255 / 65535) if pixels.dtype == np.uint16 else pixels


def decompress(message: CompressedImageLike, topic: str) -> np.ndarray:
    """Return the pixels of a JPEG or PNG, uint8 [H, W, 3] RGB, whatever the message's format says.

    They are left as they lie in the file: the camera's other messages know of no EXIF orientation.
    Raises ConversionError.
    """
    data = bytes(message.data)
    if not any(data.startswith(start) for start, _ in COMPRESSED.values()):
        raise ConversionError(
            f"{topic}: format {message.format[:40]!r}, data begin with {data[:4].hex(' ')!r}; "
            f"allowed: {', '.join(COMPRESSED)}"
        )
    if not data.rstrip(b"\0").endswith(tuple(end for _, end in COMPRESSED.values())):
        raise ConversionError(f"{topic}: the {len(data)} bytes are no whole {message.format[:40]}")
    try:
        width, height = PIL.Image.open(io.BytesIO(data)).size  # reads the head of the file alone
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise ConversionError(f"{topic}: {error}") from error
    if width * height > MAX_PIXELS:
        raise ConversionError(
            f"{topic}: {width}x{height} is too large; at most {MAX_PIXELS} pixels are allowed"
        )
    if data.startswith(COMPRESSED["JPEG"][0]):
        return _decoded_jpeg(data, topic)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ConversionError(f"{topic}: the {len(data)} bytes cannot be decoded")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _decoded_jpeg(data: bytes, topic: str) -> np.ndarray:
    """Return the pixels of a JPEG. Raises ConversionError for one that is cut or no camera's.

    What is missing of a cut one a decoder fills with grey, and only warns. Of other things that it
    warns of, such as a few bytes too many, which many USB cameras send, nothing is to be seen.
    """
    try:
        try:
            return simplejpeg.decode_jpeg(data, strict=True)
        except ValueError as error:
            if "premature end" in str(error).lower():
                raise
            return simplejpeg.decode_jpeg(data, strict=False)
    except ValueError as error:
        raise ConversionError(f"{topic}: the JPEG of {len(data)} bytes: {error}") from error


def encoded_pixels(message: ImageLike, topic: str) -> np.ndarray:
    """Return uint8 or uint16 [rows, W, channels]: the message's data, if possible a view of them.

    Planar YUV has its colours in half as many rows below the brightness. Raises ConversionError.
    """
    if message.encoding not in ENCODINGS:
        raise ConversionError(
            f"{topic}: encoding {message.encoding[:40]!r} is unknown; "
            f"allowed: {', '.join(ENCODINGS)}"
        )
    channels, _ = ENCODINGS[message.encoding]
    depth = 2 if message.encoding.endswith("16") else 1
    rows = message.height * 3 // 2 if message.encoding in ("nv12", "nv21") else message.height
    data = rows_of(message, message.width * channels * depth, rows, topic)
    if depth == 2:
        data = np.require(data.view(">u2" if message.is_bigendian else "<u2"), np.uint16, "A")
    return data.reshape(rows, message.width, channels)


def rows_of(message: ImageLike, used: int, rows: int, topic: str) -> np.ndarray:
    """Return uint8 [rows, used]: a view of the message's data without the padding.

    Raises ConversionError when the data are fewer than the message says.
    """
    width, height, step = message.width, message.height, message.step
    if not width or not height:
        raise ConversionError(f"{topic}: the image is {width}x{height}; both must be at least 1")
    if step < used:
        raise ConversionError(
            f"{topic}: step is {step}; a row of {width} {message.encoding} pixels "
            f"needs at least {used} bytes"
        )
    if len(message.data) < step * rows:
        raise ConversionError(
            f"{topic}: data has {len(message.data)} bytes; {rows} rows of step {step} "
            f"need {step * rows}"
        )
    return np.frombuffer(message.data, np.uint8, step * rows).reshape(rows, step)[:, :used]


def centroid(mask: np.ndarray) -> tuple[float, float]:
    """Return the mean column and row of bool [H, W], pixels; NaN when it is empty."""
    moments = cv2.moments(np.ascontiguousarray(mask).view(np.uint8))
    if not moments["m00"]:
        return math.nan, math.nan
    return moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]


def to_grey(mask: np.ndarray) -> np.ndarray:
    """Return uint8 [H, W], 0 or 255, of bool [H, W]."""
    return mask.view(np.uint8) * np.uint8(255)


def draw_kept(kept: tuple[np.ndarray, ...], shape: tuple[int, int]) -> np.ndarray:
    """Return how much of the work each part of the image got, uint8 [H, W] of the given shape.

    255 where the token was kept at every stage, 0 where at none, and in proportion between.
    """
    if not kept:
        return np.full(shape, 255, np.uint8)
    share = np.mean(kept, axis=0, dtype=np.float32)
    grey = np.rint(255 * share).astype(np.uint8)
    return cv2.resize(grey, shape[::-1], interpolation=cv2.INTER_NEAREST)

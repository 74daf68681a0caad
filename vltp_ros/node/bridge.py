"""Pixels of images by the cv_bridge that is installed, where it works, or else by our own code.

cv_bridge is part of the user's stack, so it converts what it can. ROS 2's (C++ under Python) and
PyPI's (Python alone) are not given:

- rgb8, where there is nothing to convert: ROS's would copy it twice.
- 8UC1, 8UC3, 8UC4, uyvy, yuyv, nv12 and nv21, which neither converts to rgb8. PyPI's does not
  convert 16 bits, yuv422, yuv422_yuy2 and bayer_grbg8 either.
- Padded rows: PyPI's ignores the padding, ROS's all of it that is no whole pixel.
- Images that say they are big-endian: both copy them, even those of 8 bits, and fail with NumPy 2.
- Compressed images: of a cut JPEG cv_bridge fills in what is missing.

The rest has the same pixels as by our code. ROS's costs more, because it copies its result: 0.2 to
0.8 ms of processor time at 1280x720, 0.6 to 2 ms at 1920x1080, during which it holds Python's lock.
That was the limit for its use: 1 ms at 1280x720. PyPI's costs the same as ours. `vltp benchmark
images` measures the one that is installed.

ROS's that was built with NumPy 1 brings its process down with NumPy 2. So a process of its own
tries cv_bridge out; until that has ended, our code converts.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from functools import cached_property
from typing import Any

import numpy as np
from rclpy.logging import get_logger
from sensor_msgs.msg import Image

from vltp_ros.imaging.images import encoded_pixels, to_rgb

TRIAL = "vltp_ros.node.bridge_trial"


class Bridge:
    """Converts images, by cv_bridge where it was found to work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._trial: subprocess.Popen[bytes] | None = None
        self._encodings: frozenset[str] | None = None

    def to_rgb(self, message: Image, topic: str) -> np.ndarray:
        """Return a message's pixels, uint8 [H, W, 3] RGB. Raises ConversionError."""
        pixels = encoded_pixels(message, topic)  # refuses what is malformed
        is_padded = message.step * len(pixels) != pixels.nbytes
        if not (is_padded or message.is_bigendian) and message.encoding in self.encodings():
            try:
                return self._cv_bridge.imgmsg_to_cv2(message, "rgb8")
            except Exception:  # such as an odd width of yuv422: ours says it
                pass
        return to_rgb(message, topic)

    def encodings(self, patience: float = 0.0) -> frozenset[str]:
        """Return the encodings that cv_bridge converts; none as long as that is not known.

        The first call starts the trial.

        Args:
            patience: seconds to wait for the end of the trial.
        """
        with self._lock:
            if self._encodings is None:
                self._encodings = self._tried(patience)
            return self._encodings or frozenset()

    @cached_property
    def _cv_bridge(self) -> Any:
        from cv_bridge import CvBridge

        return CvBridge()

    def _tried(self, patience: float) -> frozenset[str] | None:
        """Return what the trial found; None while it runs."""
        if self._trial is None:
            if importlib.util.find_spec("cv_bridge") is None:
                return frozenset()
            self._trial = subprocess.Popen(
                [sys.executable, "-m", TRIAL],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        try:
            status = self._trial.wait(patience)
        except subprocess.TimeoutExpired:
            return None
        output, _ = self._trial.communicate()
        if status or not (encodings := json.loads(output)):
            get_logger("vltp").warning(
                f"cv_bridge is installed and does not work: its trial, `python3 -m {TRIAL}`, ended "
                f"with status {status}; the node converts images without it"
            )
            return frozenset()
        get_logger("vltp").info(f"cv_bridge converts {', '.join(encodings)}")
        return frozenset(encodings)

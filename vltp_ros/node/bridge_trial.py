"""Prints, as JSON, the encodings that the installed cv_bridge converts to the same pixels as ours.

A process of its own, which a broken cv_bridge may bring down.
"""

from __future__ import annotations

import array
import json
import signal
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from vltp_ros.imaging.images import ENCODINGS, to_rgb

SECONDS = 60  # for all of it; then the process ends itself
NOTHING_TO_CONVERT = ("rgb8",)


def noise(encoding: str, height: int, width: int) -> Image:
    """Return an image of random bytes, without padding."""
    channels, _ = ENCODINGS[encoding]
    step = width * channels * (2 if encoding.endswith("16") else 1)
    rows = height * 3 // 2 if encoding in ("nv12", "nv21") else height
    data = np.random.default_rng(0).bytes(rows * step)
    return Image(
        height=height, width=width, encoding=encoding, step=step, data=array.array("B", data)
    )


def gives_the_same(bridge: Any, image: Image) -> bool:
    """Whether cv_bridge converts an image, and to the same pixels as our code."""
    try:
        return np.array_equal(bridge.imgmsg_to_cv2(image, "rgb8"), to_rgb(image, "trial"))
    except Exception:  # each version has its own for what it cannot do
        return False


def main() -> None:
    """Print the list."""
    from cv_bridge import CvBridge

    signal.alarm(SECONDS)
    bridge = CvBridge()
    encodings = [name for name in ENCODINGS if name not in NOTHING_TO_CONVERT]
    works = [name for name in encodings if gives_the_same(bridge, noise(name, 16, 32))]
    print(json.dumps(works))


if __name__ == "__main__":
    main()

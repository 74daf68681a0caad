"""Image messages in every encoding, as cameras send them."""

from __future__ import annotations

import numpy as np
import plain_images
from sensor_msgs.msg import Image


def encode(rgb: np.ndarray, encoding: str, padding=0, big_endian=False) -> Image:
    """A message of ``rgb`` (uint8 [H, W, 3], even H and W); of mono, its red."""
    return Image(**vars(plain_images.encode(rgb, encoding, padding, big_endian)))

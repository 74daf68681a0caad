"""Picture files in, mask and overlay files out."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError


def read_picture(path: Path) -> np.ndarray:
    """Read any common picture file as uint8 [H, W, 3] RGB, upright as its EXIF orientation says.

    Grey is repeated, transparency is laid on white, 16 bits are scaled to 8.

    Raises:
        ValueError: if the file is missing, or is not a picture that can be decoded whole.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist or is not a file")
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            picture.load()
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:
        raise ValueError(f"{path} is not a picture that can be read: {error}") from error
    if picture.mode.startswith(("I", "F")):
        return _from_deep(np.asarray(picture), path)
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.array(picture.convert("RGB"))


def _from_deep(grey: np.ndarray, path: Path) -> np.ndarray:
    """Return 16-bit grey levels as RGB; 32 bits have no known white, so their range is used."""
    if not np.isfinite(grey).all():
        raise ValueError(f"{path} holds levels that are not finite")
    levels = grey.astype(np.float64)
    low, high = (0.0, 65535.0)
    if levels.min() < low or levels.max() > high or grey.dtype.kind == "f":
        low, high = levels.min(), max(levels.max(), levels.min() + 1e-9)
    return np.repeat(
        ((levels - low) / (high - low) * 255).round().astype(np.uint8)[..., None], 3, 2
    )


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 [H, W] or RGB [H, W, 3] to a file that is renamed when whole."""
    colours = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    done, encoded = cv2.imencode(".png", colours, (cv2.IMWRITE_PNG_COMPRESSION, 9))
    if not done:
        raise OSError(f"{path} could not be encoded")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_file = path.with_suffix(".part")
    partial_file.write_bytes(encoded.tobytes())
    os.replace(partial_file, path)

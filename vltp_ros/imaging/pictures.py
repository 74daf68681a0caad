"""Picture files in, mask and overlay files out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from vltp_ros.paths import pip_command

FORMATS = "JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, AVIF, JPEG 2000 and others that Pillow reads"


def read_picture(path: Path) -> np.ndarray:
    """Read the first page of a picture file as uint8 [H, W, 3] RGB; see :func:`read_pictures`."""
    return next(read_pictures(path))[0]


def read_pictures(file: Path | IO[bytes], name: str = "") -> Iterator[tuple[np.ndarray, int]]:
    """Read any common picture file, upright as its EXIF orientation says.

    Grey is repeated, transparency is laid on white, 16 bits are scaled to 8.

    Args:
        file: path, or what is read from.
        name: for errors, of what is no path.

    Yields:
        Each page or frame, uint8 [H, W, 3] RGB, and how many there are.

    Raises:
        ValueError: if the file is missing, or is not a picture that can be decoded whole.
    """
    if isinstance(file, Path):
        name = str(file)
        if not file.is_file():
            raise ValueError(f"{file} does not exist or is not a file")
    has_heic = learn_heic()
    try:
        with Image.open(file) as pages:
            count = getattr(pages, "n_frames", 1)
            for page in ImageSequence.Iterator(pages):
                yield _to_rgb(ImageOps.exif_transpose(page), name), count
    except UnidentifiedImageError as error:
        heic = "HEIC" if has_heic else f"HEIC after {pip_command('heic')}"
        raise ValueError(
            f"{name} is not a picture that can be read; allowed: {FORMATS}, {heic}"
        ) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} is not a picture that can be read: {error}") from error


def learn_heic() -> bool:
    """Teach Pillow to read HEIC, where the library for it is installed; return whether it is."""
    try:
        from pillow_heif import register_heif_opener  # an extra
    except ImportError:
        return False
    register_heif_opener()
    return True


def _to_rgb(picture: Image.Image, name: str) -> np.ndarray:
    """Return a page as uint8 [H, W, 3] RGB."""
    picture.load()
    if picture.mode.startswith(("I", "F")):
        return _from_deep(np.asarray(picture), name)
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.array(picture.convert("RGB"))


def _from_deep(grey: np.ndarray, name: str) -> np.ndarray:
    """Return 16-bit grey levels as RGB; 32 bits have no known white, so their range is used."""
    if not np.isfinite(grey).all():
        raise ValueError(f"{name} holds levels that are not finite")
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

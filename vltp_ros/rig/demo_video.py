"""A video of what the node received and answered: image, mask and kept tokens side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import imageio.v2 as imageio
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vltp_ros.evaluation.drawing import BACKGROUND, FAINT, TEXT, dim
from vltp_ros.imaging.overlay import COLOURS

PANEL = (480, 360)  # width and height of each of the three pictures, pixels
MARGIN = 60  # height of the strips above and below them, pixels
FRAMES_PER_SECOND = 10
GIF_FRAMES_PER_SECOND = 8
GIF_WIDTHS = (960, 840, 720, 600, 480)  # the first one whose file is small enough is taken
GIF_COLOURS = 96


@dataclass(frozen=True)
class VideoFrame:
    """One answered image."""

    seconds: float  # when the answer came, from any fixed moment
    image: bytes  # JPEG
    overlay: bytes  # JPEG
    kept: np.ndarray  # uint8 [H, W]: 255 where a token was kept at every stage, 0 where at none
    kept_shares: tuple[float, ...]  # per stage, 0..1
    task: str
    times_ms: dict[str, float]  # per stage, in order of execution


def to_jpeg(pixels: np.ndarray) -> bytes:
    """Compress uint8 [H, W, 3] RGB."""
    return cv2.imencode(".jpg", pixels[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 95))[1].tobytes()


def draw(frame: VideoFrame) -> np.ndarray:
    """Draw one picture of the video, uint8 [480, 1440, 3] RGB."""
    width, height = PANEL
    image = _from_jpeg(frame.image)
    light = cv2.resize(frame.kept, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    panels = [image, _from_jpeg(frame.overlay), dim(image, light / 255)]
    picture = np.full((height + 2 * MARGIN, 3 * width, 3), BACKGROUND, np.uint8)
    row = [cv2.resize(panel, PANEL, interpolation=cv2.INTER_AREA) for panel in panels]
    picture[MARGIN:-MARGIN] = np.hstack(row)
    return _write_text(picture, frame)


def _write_text(pixels: np.ndarray, frame: VideoFrame) -> np.ndarray:
    """Write the task above the pictures, and their names and the stages' times below."""
    picture = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(picture)
    large, small = ImageFont.load_default(30), ImageFont.load_default(17)
    canvas.text((16, MARGIN // 2), f"“{frame.task}”", TEXT, large, "lm")
    shares = ", ".join(f"{share:.0%}" for share in frame.kept_shares) or "all"
    below = PANEL[1] + MARGIN
    for index, name in enumerate(("camera", "mask", f"image tokens kept: {shares}")):
        canvas.text((index * PANEL[0] + 16, below + 18), name, TEXT, small, "lm")
    times = "   ".join(f"{name} {value:.0f} ms" for name, value in frame.times_ms.items())
    canvas.text((16, below + 43), times, FAINT, small, "lm")
    return np.asarray(picture)


def _from_jpeg(data: bytes) -> np.ndarray:
    """Decompress to uint8 [H, W, 3] RGB."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def write_video(path: Path, frames: Sequence[VideoFrame]) -> None:
    """Write an H.264 file that plays ``frames`` as fast as they came."""
    part = path.with_name(f"part-{path.name}")
    with imageio.get_writer(part, fps=FRAMES_PER_SECOND, codec="libx264", quality=8) as writer:
        for picture in _pictures(frames, FRAMES_PER_SECOND):
            writer.append_data(picture)  # type: ignore[attr-defined]  # typed as a reader
    os.replace(part, path)


def write_gif(path: Path, frames: Sequence[VideoFrame], seconds: float, limit: int) -> None:
    """Write a looping GIF of the first ``seconds``, as large as ``limit`` bytes allow.

    The smallest size is written even where it exceeds the limit.
    """
    first = [frame for frame in frames if frame.seconds - frames[0].seconds <= seconds]
    pictures = list(_pictures(first, GIF_FRAMES_PER_SECOND))
    part = path.with_name(f"part-{path.name}")
    for width in GIF_WIDTHS:
        _save_gif(part, pictures, width)
        if part.stat().st_size <= limit:
            break
    os.replace(part, path)


def _save_gif(path: Path, pictures: Sequence[np.ndarray], width: int) -> None:
    size = (width, width * pictures[0].shape[0] // pictures[0].shape[1])
    small = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in pictures]
    # One palette for all frames: what stands still then stays the same, and costs nothing.
    sample = Image.fromarray(np.vstack(small[:: max(1, len(small) // 8)]))
    palette = sample.quantize(GIF_COLOURS, dither=Image.Dither.NONE)
    # What marks things is too rare to be among the colours otherwise, and is to be told apart.
    marks = np.concatenate((COLOURS, COLOURS // 2))
    palette.putpalette([*(palette.getpalette() or ())[: 3 * GIF_COLOURS], *marks.ravel().tolist()])
    quantised = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in small
    ]
    milliseconds = 1000 // GIF_FRAMES_PER_SECOND
    quantised[0].save(
        path, save_all=True, append_images=quantised[1:], duration=milliseconds, loop=0,
        optimize=False,
    )  # fmt: skip


def _pictures(frames: Sequence[VideoFrame], rate: int) -> Iterator[np.ndarray]:
    """Draw pictures at a steady rate, each of the newest frame at its moment."""
    start, end = frames[0].seconds, frames[-1].seconds
    newest, picture = 0, draw(frames[0])
    for count in range(int((end - start) * rate) + 1):
        index = newest
        while index + 1 < len(frames) and frames[index + 1].seconds <= start + count / rate:
            index += 1
        if index != newest:
            newest, picture = index, draw(frames[index])
        yield picture

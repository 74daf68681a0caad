"""Where pictures come from: files, folders, patterns, videos, a webcam, standard input."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from vltp_ros.imaging.pictures import learn_heic, read_pictures

STDIN, CAMERA = "-", "camera:"
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
CAMERA_RATE = 10.0
"""Frames a second at which a webcam's pictures are shown, however fast they are answered."""

BAG_STORAGES = (".db3", ".mcap")


@dataclass(frozen=True)
class Shot:
    """One picture of a source."""

    pixels: np.ndarray  # uint8 [H, W, 3] RGB
    frame: int | None = None  # its number, from 0; None: the source has only one
    seconds: float | None = None  # since the video began; None: it is not part of one
    rate: float = 0.0  # frames of the video a second; 0: it is not part of one


@dataclass(frozen=True)
class Source:
    """A file, standard input or a webcam."""

    name: str

    @property
    def is_video(self) -> bool:
        """Whether its pictures follow each other, seconds or less apart."""
        return self.name.startswith(CAMERA) or Path(self.name).suffix.lower() in VIDEOS

    @property
    def stem(self) -> str:
        """What names of files that are made of it begin with."""
        return {STDIN: "stdin"}.get(self.name, Path(self.name).stem.replace(":", ""))

    def shots(self, limit: int | None = None) -> Iterator[Shot]:
        """Yield its pictures, at most so many.

        Without a limit, all pages of a file and all frames of a video, but one of a webcam. Raises
        ValueError for what cannot be read.
        """
        if self.name.startswith(CAMERA):
            return itertools.islice(_from_camera(self.name), 1 if limit is None else limit)
        if self.is_video:
            return itertools.islice(_from_video(self.name), limit)
        return itertools.islice(self._pages(), limit)

    def _pages(self) -> Iterator[Shot]:
        if self.name == STDIN:
            pages = read_pictures(sys.stdin.buffer, "standard input")
        else:
            pages = read_pictures(Path(self.name))
        for number, (pixels, count) in enumerate(pages):
            yield Shot(pixels, number if count > 1 else None)


def find_sources(names: Sequence[str]) -> list[Source]:
    """Return what names stand for, each once and in their order.

    Args:
        names: of files, of folders, whose pictures and videos are meant, patterns as a shell has
            them, "-" for a picture on standard input, "camera:0" for the first webcam.

    Raises:
        ValueError: for a name that stands for nothing.
    """
    each_once = dict.fromkeys(itertools.chain.from_iterable(map(_find, names)))
    return [Source(name) for name in each_once]


def _find(name: str) -> list[str]:
    if name == STDIN:
        return [name]
    if name.startswith(CAMERA):
        if not name.removeprefix(CAMERA).isdecimal():
            raise ValueError(f"{name} is no webcam; allowed: camera: and a number, as camera:0")
        return [name]
    path = Path(name)
    if path.is_dir():
        learn_heic()
        known = {*Image.registered_extensions(), *VIDEOS}
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in known)
        if not files:
            raise ValueError(f"{name} is a folder without pictures and videos")
        return [str(file) for file in files]
    if path.is_file():
        return [name]
    if matches := sorted(match for match in glob(name, recursive=True) if Path(match).is_file()):
        return matches
    raise ValueError(f"{name} does not exist")


def is_bag(path: Path) -> bool:
    """Return whether a path is a recorded ROS bag, rosbag2's directory."""
    return path.is_dir() and (
        (path / "metadata.yaml").exists()
        or any(file.suffix in BAG_STORAGES for file in path.iterdir())
    )


def _from_video(name: str) -> Iterator[Shot]:
    import imageio.v2 as imageio  # not among the imports: pictures do without

    try:
        with imageio.get_reader(name, "ffmpeg") as file:
            video: Any = file  # typed without what readers do
            rate = video.get_meta_data()["fps"]
            for number, pixels in enumerate(video):
                yield Shot(np.asarray(pixels), number, number / rate, rate)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{name} is not a video that can be read: {error}") from error


def _from_camera(name: str) -> Iterator[Shot]:
    camera = cv2.VideoCapture(int(name.removeprefix(CAMERA)))
    began = time.monotonic()
    try:
        for number in itertools.count():
            done, pixels = camera.read()
            if not done:
                raise ValueError(f"{name} gives no picture; is there a webcam, and is it free?")
            seconds = time.monotonic() - began
            yield Shot(np.ascontiguousarray(pixels[..., ::-1]), number, seconds, CAMERA_RATE)
    finally:
        camera.release()

"""Parameters of the nodes around the ``vltp`` node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vltp_ros.settings import check, documented, setting
from vltp_ros.simulation import SPLITS, Split

Outputs = Literal["mask", "instances", "all"]
"""What the benchmark of the node listens to."""


@documented
@dataclass(frozen=True)
class CameraConfig:
    """Parameters of the simulated camera."""

    rate: float = setting(8.0, "frames per second", low=0.1, high=120.0, read_only=True)
    width: int = setting(640, "width of the images, pixels", low=16, high=640, read_only=True)
    height: int = setting(
        480,
        "height of the images, pixels; three quarters of the width",
        low=12,
        high=480,
        read_only=True,
    )
    seed: int = setting(0, "seed of the first scene", low=0, high=2**62, read_only=True)
    split: Split = setting(
        "test",
        "split that the scenes come from",
        choices=SPLITS,
        read_only=True,
    )
    scene_seconds: float = setting(6.0, "seconds for which a scene is shown", low=0.1, high=86400.0)
    frame_id: str = setting("camera_optical_frame", "frame of the images", read_only=True)

    def __post_init__(self) -> None:
        check(self)


@documented
@dataclass(frozen=True)
class StillCameraConfig:
    """Parameters of the camera that sees one picture, for measuring."""

    rate: float = setting(10.0, "frames per second", low=0.1, high=240.0, read_only=True)
    width: int = setting(1280, "width of the images, pixels", low=16, high=8192, read_only=True)
    height: int = setting(720, "height of the images, pixels", low=16, high=8192, read_only=True)
    depth: bool = setting(False, "publish depth and camera_info too", read_only=True)

    def __post_init__(self) -> None:
        check(self)


@documented
@dataclass(frozen=True)
class LiveViewConfig:
    """Parameters of the server for the Foxglove app."""

    address: str = setting(
        "127.0.0.1:8765",
        "host:port to serve at; host 0.0.0.0: every address of this machine; port 0: any free port",
        read_only=True,
    )
    origins: tuple[str, ...] = setting(
        ("https://app.foxglove.dev", "https://studio.foxglove.dev", "file://"),
        "origins of the web pages that may connect: any page in a browser on this machine tries to",
        read_only=True,
    )

    def __post_init__(self) -> None:
        check(self)
        host, _, port = self.address.rpartition(":")
        if not (host and port.isdecimal() and int(port) < 2**16):
            raise ValueError(
                f"LiveViewConfig.address is {self.address!r}; it must be host:port, such as "
                "127.0.0.1:8765"
            )


@documented
@dataclass(frozen=True)
class PlannerConfig:
    """Parameters of the planner that publishes task sentences from a list."""

    tasks: tuple[str, ...] = setting(
        ("something to drive a nail", "what could I drink from?", "a thing that cuts"),
        "sentences that are published in turn until a list comes on the topic",
    )
    period: float = setting(2.0, "seconds between tasks", low=0.05, high=86400.0)

    def __post_init__(self) -> None:
        check(self)
        if not self.tasks:
            raise ValueError("PlannerConfig.tasks is empty; it must have at least one sentence")

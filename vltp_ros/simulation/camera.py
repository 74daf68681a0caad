"""The camera, the lamps and the flat surfaces of a scene, as plain data.

World frame: metres, z up; seen from azimuth 0, x goes to the right and y away from the camera.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from vltp_ros.simulation.meshes import rotation

WIDTH, HEIGHT = 640, 480
ORBIT_SECONDS = 12.0

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at a point near the middle of the objects; angles in radians."""

    target: Vector
    azimuth: float
    elevation: float
    """Above the horizon."""
    distance: float
    """To the target, metres."""
    roll: float
    fovy: float
    """Vertical field of view."""
    width: int = WIDTH
    """Of its images, pixels."""
    height: int = HEIGHT

    @property
    def focal(self) -> float:
        """Return the focal length in pixels."""
        return float(self.height / 2 / np.tan(self.fovy / 2))

    def axes(self) -> np.ndarray:
        """Return unit vectors [3, 3] in the world frame: rows right, up, forward."""
        return _axes(self.azimuth, self.elevation, self.roll)

    def position(self) -> np.ndarray:
        """Return the optical centre [3]."""
        return np.asarray(self.target) - self.distance * self.axes()[2]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return pixels [N, 2] (column, row) of world points [N, 3]."""
        right, up, depth = self.axes() @ (points - self.position()).T
        columns, rows = self.focal * right / depth, self.focal * up / depth
        return np.stack([self.width / 2 + columns, self.height / 2 - rows], -1)

    def on_plane(self, pixels: np.ndarray, height: float = 0.0) -> np.ndarray:
        """Return the points [N, 2] at pixels [N, 2] of the plane z = height; none above it."""
        column, row = pixels.T
        picture = np.stack(
            [column - self.width / 2, self.height / 2 - row, np.full(len(pixels), self.focal)], -1
        )
        rays = picture @ self.axes()
        rays = rays[rays[:, 2] < 0]
        origin = self.position() - (0, 0, height)
        return (origin - rays * origin[2] / rays[:, 2:])[:, :2]

    def orbit(self, seconds: float) -> "Camera":
        """Return the camera on its way around the target; itself at 0 and every ORBIT_SECONDS."""
        phase = 2 * np.pi * seconds / ORBIT_SECONDS
        return replace(
            self,
            azimuth=self.azimuth + np.radians(15) * np.sin(phase),
            elevation=self.elevation + np.radians(3) * np.sin(2 * phase),
            distance=self.distance * (1 + 0.04 * np.sin(phase)),
        )


@dataclass(frozen=True)
class Light:
    """A lamp that shines on the middle of the scene."""

    position: Vector
    rgb: Vector
    """Brightness, 0 to 1."""
    shadow: bool


@dataclass(frozen=True)
class Surface:
    """A flat part of the surroundings."""

    texture: str | None
    """Name of a texture, or None for a plain colour."""
    rgb: Vector


@lru_cache(maxsize=64)
def _axes(azimuth: float, elevation: float, roll: float) -> np.ndarray:
    tilt = rotation("z", azimuth) @ rotation("x", -elevation)
    right, forward, up = tilt.T
    cos, sin = np.cos(roll), np.sin(roll)
    axes = np.stack([cos * right + sin * up, cos * up - sin * right, forward])
    axes.setflags(write=False)
    return axes

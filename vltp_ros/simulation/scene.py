"""What a scene consists of, as plain data, and where its parts come to lie.

The table top lies at z = 0 around the origin of camera.py's world frame.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vltp_ros.simulation.camera import Camera, Light, Surface, Vector
from vltp_ros.simulation.meshes import rotation
from vltp_ros.simulation.shapes import shape
from vltp_ros.simulation.splits import Split


@dataclass(frozen=True)
class ObjectInstance:
    """One object resting on the table."""

    kind: str
    shape: str
    """Variant of the kind, a key of shapes.BUILDERS[kind]."""
    colour: str
    """Name from appearance.COLOURS."""
    material: str
    """Name from appearance.MATERIALS."""
    rgb: Vector
    """The named colour, slightly varied: 0 to 1."""
    size: Vector
    """Factors on the nominal size along the shape's own x, y, z."""
    pose: str
    """"upright" or "side"."""
    position: tuple[float, float]
    """Where the middle of the footprint lies: x, y in metres."""
    yaw: float
    """Rotation about the vertical, radians."""


@dataclass(frozen=True)
class Table:
    """The table top."""

    surface: Surface
    half_size: tuple[float, float]
    """Half its length and width, metres."""
    yaw: float


@dataclass(frozen=True)
class Scene:
    """A table with objects, everything that the image depends on."""

    seed: int
    split: Split
    task: str
    """The task that the scene was laid out for and that its first query asks for."""
    served: bool
    """Whether some object is there to serve it."""
    objects: tuple[ObjectInstance, ...]
    camera: Camera
    lights: tuple[Light, ...]
    ambient: Vector
    table: Table
    floor: Surface
    wall: Surface


@lru_cache(maxsize=1024)
def placement(item: ObjectInstance) -> tuple[np.ndarray, np.ndarray]:
    """Return A [3, 3] and b [3]: A @ point + b takes an object's nominal points to the world.

    The lowest of these come to lie at z = 0.
    """
    linear, low, high = _rolled(item)
    turned = rotation("z", item.yaw)
    rest = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    return turned @ linear, np.array([*item.position, 0.0]) - turned @ rest


@lru_cache(maxsize=1024)
def bounds(item: ObjectInstance) -> np.ndarray:
    """Return the corners [8, 3] of an object's upright box in the world, the lower four first.

    They are asked for again whenever another object is put beside it, and not to be changed.
    """
    _, low, high = _rolled(item)
    x, y, z = (high - low) / [2, 2, 1]
    base = np.array([(-x, -y), (x, -y), (x, y), (-x, y)]) @ rotation("z", item.yaw)[:2, :2].T
    corners = np.zeros((8, 3))
    corners[:, :2] = np.tile(base + item.position, (2, 1))
    corners[4:, 2] = z
    corners.flags.writeable = False
    return corners


def apart(first: np.ndarray, second: np.ndarray, gap: float) -> np.ndarray:
    """Return whether rectangles keep a gap along one of their sides.

    Args:
        first: corners in order [..., 4, 2].
        second: corners [4, 2] of the rectangle that each of them is held against.
        gap: metres.

    Returns:
        bool [...].
    """
    sides = [one[..., k, :] - one[..., 0, :] for one in (first, second) for k in (1, 3)]
    axes = np.stack(np.broadcast_arrays(*sides), axis=-1)
    axes /= np.linalg.norm(axes, axis=-2, keepdims=True)
    one, two = first @ axes, second @ axes
    between = np.maximum(one.min(-2) - two.max(-2), two.min(-2) - one.max(-2))
    return between.max(axis=-1) >= gap


def _rolled(item: ObjectInstance) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return size and pose as a matrix [3, 3], and the lowest and highest coordinates after it."""
    return _extent(item.kind, item.shape, item.size, item.pose)


@lru_cache(maxsize=1024)
def _extent(
    kind: str, variant: str, size: Vector, pose: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    linear = np.diag(size)
    if pose == "side":
        linear = rotation("x", np.pi / 2) @ linear
    points = shape(kind, variant).points @ linear.T
    return linear, points.min(axis=0), points.max(axis=0)

"""What a crowded scene consists of, as plain data, and where its parts come to lie.

The lowest support's surface lies at z = 0 around the origin of camera.py's world frame.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import cv2
import numpy as np

from vltp_ros.simulation.camera import Camera, Light, Surface, Vector
from vltp_ros.simulation.crowded.forms import shape
from vltp_ros.simulation.meshes import rotation
from vltp_ros.simulation.splits import Split

Relation = Literal["inside", "on"]
Pose = Literal["upright", "side", "standing"]
SupportKind = Literal["table", "shelf", "drawer"]

STANDING: dict[str, float] = {"spoon": 76, "fork": 76, "spatula": -76, "pencil": -76}
"""Kinds that stand in a vessel, and how far they are turned about y for it, degrees."""


@dataclass(frozen=True)
class Item:
    """One object."""

    kind: str
    """One of forms.KINDS, or forms.NO_KIND for a distractor."""
    form: str
    """A key of forms.FORMS[kind]."""
    state: str
    """A key of forms.FORMS[kind][form]."""
    colour: str
    """Name from appearance.COLOURS, of the main part."""
    material: str
    """Name from appearance.MATERIALS, of the main part."""
    pattern: str | None
    """Name from patterns.PATTERNS that covers the main part."""
    label: str
    """Name from patterns.LABELS, for kinds that bear a label."""
    rgb: Vector
    """The named colour, slightly varied: 0 to 1."""
    filling: Vector
    """RGB of what it is filled with."""
    size: float
    """Factor on the nominal size."""
    pose: Pose = "upright"
    position: Vector = (0.0, 0.0, 0.0)
    """Where the middle of the footprint rests, metres."""
    yaw: float = 0.0
    """Rotation about the vertical, radians."""
    host: int | None = None
    """Index of the object that it lies in or on."""
    relation: Relation | None = None
    """How it lies there."""


@dataclass(frozen=True)
class Slab:
    """A box of the surroundings: table top, board, wall, cloth."""

    half_size: Vector
    centre: Vector
    yaw: float
    surface: Surface


@dataclass(frozen=True)
class Board:
    """A rectangle that things stand on, in the frame of its support."""

    height: float
    low: tuple[float, float]
    """Its corner with the least x and y, metres."""
    high: tuple[float, float]


@dataclass(frozen=True)
class Support:
    """A table, shelf or drawer."""

    kind: SupportKind
    yaw: float
    """Its frame's rotation about the vertical, radians."""
    boards: tuple[Board, ...]
    slabs: tuple[Slab, ...]
    """Everything to be drawn of it and around it."""


@dataclass(frozen=True)
class Scene:
    """Everything that the image and the questions depend on."""

    seed: int
    split: Split
    support: Support
    objects: tuple[Item, ...]
    camera: Camera
    lights: tuple[Light, ...]
    ambient: Vector
    ladders: tuple[str, ...]
    """Names of the ladders that the scene was laid out for."""


@cache
def outline(
    kind: str, form: str, state: str, pose: Pose
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how a pose turns an object, [3, 3], and its points' bounds after it, nominal size."""
    linear = np.eye(3)
    if pose == "side":
        linear = rotation("x", np.pi / 2) @ linear
    elif pose == "standing":
        linear = rotation("y", np.radians(STANDING[kind])) @ linear
    points = shape(kind, form, state).points @ linear.T
    return linear, points.min(axis=0), points.max(axis=0)


@cache
def hull(kind: str, form: str, state: str, pose: Pose) -> np.ndarray:
    """Return the convex outline [N, 2] of an object from above, around its middle, nominal size."""
    linear, low, high = outline(kind, form, state, pose)
    points = shape(kind, form, state).points @ linear.T - (low + high) / 2
    return cv2.convexHull(points[:, :2].astype(np.float32))[:, 0].astype(np.float64)


def placement(item: Item) -> tuple[np.ndarray, np.ndarray]:
    """Return A [3, 3] and b [3]: A @ point + b takes an object's nominal points to the world."""
    linear, low, high = outline(item.kind, item.form, item.state, item.pose)
    turned = item.size * rotation("z", item.yaw)
    rest = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    return turned @ linear, np.array(item.position) - turned @ rest


def extent(item: Item) -> np.ndarray:
    """Return an object's length, width and height [3] as it lies."""
    _, low, high = outline(item.kind, item.form, item.state, item.pose)
    return item.size * (high - low)

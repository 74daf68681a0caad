"""Closed surfaces as bare triangles.

A surface is a float64 array [F, 3, 3]: F triangles, three corners each, x y z in metres, wound
counter-clockwise seen from outside. Joining two surfaces is concatenating them.
"""

import numpy as np
from numpy.typing import ArrayLike

SEGMENTS = 28  # facets around a full turn: smooth at the 200 px an object spans in the image
CREASE = np.cos(np.radians(42))  # faces that meet at a sharper angle keep a hard edge
TEXTURE_TILE = 0.1  # metres of surface that one repeat of a texture covers


def revolve(profile: ArrayLike, segments: int = SEGMENTS, squareness: float = 2.0) -> np.ndarray:
    """Turn a profile around the z axis, which covers a surface.

    Args:
        profile: [N, 2] pairs (radius, z), starting and ending on the axis, or closed on itself.
        segments: facets around the turn.
        squareness: exponent of the superellipse that the turn follows: 2 a circle, 6 nearly
            a square with rounded corners.
    """
    radius, z = np.asarray(profile, float).T
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    reach = (np.abs(cos) ** squareness + np.abs(sin) ** squareness) ** (-1 / squareness)
    x, y = radius[:, None] * (reach * cos), radius[:, None] * (reach * sin)
    return skin(np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], -1))


def skin(rings: np.ndarray, closed: bool = False) -> np.ndarray:
    """Cover a stack of rings [N, M, 3] of M points; closed: join the last ring to the first."""
    rings = np.concatenate([rings, rings[:1]]) if closed else rings
    low, high = rings[:-1], rings[1:]
    low_next, high_next = np.roll(low, -1, axis=1), np.roll(high, -1, axis=1)
    quads = [np.stack([low, low_next, high_next], -2), np.stack([low, high_next, high], -2)]
    return _outward(np.concatenate(quads).reshape(-1, 3, 3))


def prism(outline: ArrayLike, height: float, base: float = 0.0) -> np.ndarray:
    """Raise a simple polygon [N, 2], in either direction of travel, from z = base by height."""
    outline = np.asarray(outline, float)
    bottom = np.column_stack([outline, np.full(len(outline), base)])
    top = move(bottom, (0, 0, height))
    low_next, high_next = np.roll(bottom, -1, axis=0), np.roll(top, -1, axis=0)
    sides = np.concatenate(
        [np.stack([bottom, low_next, high_next], 1), np.stack([bottom, high_next, top], 1)]
    )
    if _area(outline) < 0:
        sides = sides[:, ::-1]
    caps = _ear_clip(outline)
    return _outward(np.concatenate([sides, bottom[caps][:, ::-1], top[caps]]))


def slab(size: ArrayLike, centre: ArrayLike = (0.0, 0.0, 0.0)) -> np.ndarray:
    """Return an axis-aligned block of a size (x, y, z) around its centre."""
    x, y, z = np.asarray(size, float) / 2
    return move(prism([(-x, -y), (x, -y), (x, y), (-x, y)], 2 * z, -z), centre)


def rounded(length: float, width: float, exponent: float = 5.0, middle: float = 0.0) -> np.ndarray:
    """Return the outline [32, 2] of a rectangle with rounded corners around (middle, 0)."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    unit = np.stack([np.cos(angle), np.sin(angle)], -1)
    corner = np.sign(unit) * np.abs(unit) ** (2 / exponent)
    return corner * (length / 2, width / 2) + (middle, 0)


def tube(path: ArrayLike, radius: ArrayLike, closed: bool = False, sides: int = 12) -> np.ndarray:
    """Sweep a circle along a path [N, 3]; radius: one number or one for each point."""
    path = np.asarray(path, float)
    radius = np.broadcast_to(np.asarray(radius, float), len(path))
    if closed:
        along = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
    else:
        along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    side = np.cross(along, _off_axis(along))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(along, side)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)[:, None]
    circle = np.cos(angle) * side[:, None] + np.sin(angle) * up[:, None]
    rings = path[:, None] + radius[:, None, None] * circle
    if not closed:
        ends = np.repeat(path[[0, -1], None], sides, axis=1)
        rings = np.concatenate([ends[:1], rings, ends[1:]])
    return skin(rings, closed)


def arc(
    centre: ArrayLike, radius: float, start: float, stop: float, points: int = 14
) -> np.ndarray:
    """Return points [points, 2] on a circle, from angle start to stop, in degrees."""
    angle = np.radians(np.linspace(start, stop, points))
    return np.asarray(centre) + radius * np.stack([np.cos(angle), np.sin(angle)], -1)


def move(surface: np.ndarray, offset: ArrayLike) -> np.ndarray:
    """Shift a surface by (x, y, z) metres."""
    return surface + np.asarray(offset, float)


def turn(surface: np.ndarray, axis: str, degrees: float) -> np.ndarray:
    """Rotate a surface about the axis "x", "y" or "z" through the origin."""
    return surface @ rotation(axis, np.radians(degrees)).T


def stretch(surface: np.ndarray, factors: ArrayLike) -> np.ndarray:
    """Scale a surface by positive (x, y, z) factors."""
    return surface * np.asarray(factors, float)


def rotation(axis: str, angle: float) -> np.ndarray:
    """Return the rotation matrix [3, 3] about one coordinate axis, by an angle in radians."""
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[[i, j], [i, j]] = np.cos(angle)
    matrix[j, i], matrix[i, j] = np.sin(angle), -np.sin(angle)
    return matrix


def corner_normals(surface: np.ndarray) -> np.ndarray:
    """Return unit normals [F, 3, 3]: smooth across a curved surface, split where it has an edge."""
    weighted = np.cross(surface[:, 1] - surface[:, 0], surface[:, 2] - surface[:, 0])
    unit = weighted / np.linalg.norm(weighted, axis=1, keepdims=True)
    _, point = np.unique(np.round(surface.reshape(-1, 3), 6), axis=0, return_inverse=True)
    face = np.repeat(np.arange(len(surface)), 3)
    normals = np.empty((len(face), 3))
    order = np.argsort(point, kind="stable")
    for corners in np.split(order, np.flatnonzero(np.diff(point[order])) + 1):
        around = face[corners]
        smooth = unit[around] @ unit[around].T > CREASE
        normals[corners] = smooth @ weighted[around]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return normals.reshape(surface.shape)


def texture_coordinates(surface: np.ndarray) -> np.ndarray:
    """Return the texture position [F, 3, 2] of every corner, by its face's main direction."""
    normal = np.cross(surface[:, 1] - surface[:, 0], surface[:, 2] - surface[:, 0])
    facing = np.argmax(np.abs(normal), axis=1)
    kept = np.array([[1, 2], [0, 2], [0, 1]])[facing]
    return np.take_along_axis(surface, kept[:, None].repeat(3, 1), axis=2) / TEXTURE_TILE


def wrapped_coordinates(surface: np.ndarray) -> np.ndarray:
    """Return the position [F, 3, 2] of every corner on a label around the z axis, each 0 to 1."""
    x, y, z = np.moveaxis(surface, -1, 0)
    around = np.arctan2(y, x) / (2 * np.pi)
    around -= np.round(around - around[:, :1])  # no triangle goes all the way back
    return np.stack([around, _to_unit(z)], -1)


def spread_coordinates(surface: np.ndarray) -> np.ndarray:
    """Return the position [F, 3, 2] of every corner on a label that lies flat, each 0 to 1."""
    size = np.ptp(surface.reshape(-1, 3), axis=0)
    along, across = np.sort(np.argsort(size)[1:])
    return np.stack([_to_unit(surface[..., along]), _to_unit(surface[..., across])], -1)


def _to_unit(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / np.ptp(values)


def _outward(surface: np.ndarray) -> np.ndarray:
    """Drop triangles without area and wind the rest so that the volume inside is positive."""
    a, b, c = surface[:, 0], surface[:, 1], surface[:, 2]
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    surface = surface if np.einsum("ij,ij", a, np.cross(b, c)) > 0 else surface[:, ::-1]
    return surface[area > 1e-12]


def _off_axis(directions: np.ndarray) -> np.ndarray:
    """Return the unit axis farthest from all directions, so that a tube's frame never flips."""
    return np.eye(3)[np.argmin(np.abs(directions).max(axis=0))]


def _area(outline: np.ndarray) -> float:
    """Return the signed area of a polygon, positive if it is counter-clockwise."""
    x, y = outline.T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def _ear_clip(outline: np.ndarray) -> np.ndarray:
    """Triangulate a simple polygon [N, 2] into int [N - 2, 3], counter-clockwise."""
    left = list(range(len(outline)))
    if _area(outline) < 0:
        left.reverse()
    triangles = []
    while len(left) > 3:
        ear = next(i for i in range(len(left)) if _is_ear(outline, left, i))
        triangles.append((left[ear - 1], left[ear], left[(ear + 1) % len(left)]))
        del left[ear]
    return np.array([*triangles, left])


def _is_ear(outline: np.ndarray, left: list[int], i: int) -> bool:
    """Return whether corner i of the remaining polygon can be cut off."""
    corner = (left[i - 1], left[i], left[(i + 1) % len(left)])
    a, b, c = outline[list(corner)]
    if _cross(b - a, c - b) <= 0:
        return False
    others = outline[[k for k in left if k not in corner]]
    sides = [_cross(q - p, others - p) for p, q in ((a, b), (b, c), (c, a))]
    return not np.any(np.all(np.array(sides) > 0, axis=0))


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cross product of vectors in the plane, [..., 2]; NumPy 2 has it for space only."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]

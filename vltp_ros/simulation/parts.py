"""What shapes are put together from."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from vltp_ros.simulation.meshes import arc, prism, revolve, rounded, tube, turn

MAIN = "main"  # the finish that an object's own colour and material fill in


@dataclass(frozen=True)
class Part:
    """A surface [F, 3, 3] and its finish: MAIN, or a name from appearance.FINISHES."""

    finish: str
    surface: np.ndarray


@dataclass(frozen=True)
class Shape:
    """The parts of one variant of a kind."""

    parts: tuple[Part, ...]
    poses: tuple[str, ...] = ("upright",)
    """How it can rest: "upright" as modelled, "side" rolled over by a quarter turn about x. One is
    drawn from these, so a pose listed twice comes twice as often."""
    round: bool = False
    """Whether it may only be scaled evenly."""

    @property
    def points(self) -> np.ndarray:
        """Return every corner, [P, 3]."""
        return np.concatenate([part.surface.reshape(-1, 3) for part in self.parts])

    @cached_property
    def corners(self) -> np.ndarray:
        """Return the corners of the upright box around it, [8, 3]."""
        bounds = np.stack([self.points.min(axis=0), self.points.max(axis=0)])
        return np.stack(np.meshgrid(*bounds.T), -1).reshape(8, 3)


def build(
    *parts: tuple[str, np.ndarray], poses: tuple[str, ...] = ("upright",), round: bool = False
) -> Shape:
    """Build a shape from pairs of finish and surface."""
    return Shape(tuple(Part(finish, surface) for finish, surface in parts), poses, round)


def join(*surfaces: np.ndarray) -> np.ndarray:
    """Join several surfaces into one."""
    return np.concatenate(surfaces)


def lathe(profile: ArrayLike) -> np.ndarray:
    """Turn a profile around the x axis, from x = 0 on."""
    return turn(revolve(profile), "y", 90)


def mirror(surface: np.ndarray, factors: tuple[float, float, float]) -> np.ndarray:
    """Scale a surface by factors of any sign, and turn its triangles round if that mirrors it."""
    return (surface * np.asarray(factors))[:, :: int(np.sign(np.prod(factors)))]


def vessel(bottom: float, top: float, height: float, wall: float = 0.004) -> np.ndarray:
    """Return a hollow cup open at the top; bottom and top are its outer radii."""
    return revolve([
        (0, 0), (bottom - wall, 0), (bottom, wall), (top, height - wall / 2),
        (top - wall / 2, height), (top - wall, height - wall / 2),
        (bottom - wall, 2 * wall), (bottom - 2 * wall, 1.5 * wall), (0, 1.5 * wall),
    ])  # fmt: skip


def dish(
    radius: float,
    depth: float,
    foot: float,
    power: float,
    wall: float = 0.005,
    squareness: float = 2.0,
) -> np.ndarray:
    """Return a hollow dish on a flat foot; power 2 is round like a bowl, more is flatter inside."""
    share = np.linspace(0, 1, 9)
    r = foot + (radius - foot) * share
    z = depth * share**power
    outer = np.column_stack([r, z])
    inner = np.column_stack([r - wall * (1 - 0.4 * share), z + wall * (1 - share * 0.8)])[::-1]
    return revolve(np.vstack([(0, 0), outer, inner, (0, wall)]), squareness=squareness)


def ear(bottom: float, top: float, height: float, reach: float) -> np.ndarray:
    """Return a mug's handle in the xz plane, both ends sunk into a wall of these outer radii."""
    bend = arc((0, 0), 1.0, -90, 90, 11) * [reach, height / 3.2] + [0, height * 0.52]
    wall = bottom + (top - bottom) * bend[:, 1] / height - 0.002
    path = np.column_stack([wall + bend[:, 0], np.zeros(11), bend[:, 1]])
    return tube(path, 0.0075, sides=10)


def grip(length: float, width: float, height: float) -> np.ndarray:
    """Return a rounded bar along x from x = 0 that rests on the table."""
    return prism(rounded(length, width, middle=length / 2), height)

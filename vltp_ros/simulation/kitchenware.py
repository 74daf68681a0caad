"""Shapes for eating and cooking; lengths in metres."""

import numpy as np
from numpy.typing import ArrayLike

from vltp_ros.simulation.meshes import (
    arc,
    move,
    prism,
    revolve,
    rounded,
    slab,
    stretch,
    tube,
    turn,
)
from vltp_ros.simulation.parts import MAIN, Shape, build, dish, ear, join, lathe, vessel

CHEF_BLADE = ((0.1, -0.022), (0.14, -0.0215), (0.2, -0.012), (0.235, 0.010), (0.1, 0.013))
BREAD_BLADE = (
    (0.1, -0.009),
    *(p for k in range(9) for p in ((0.11 + k * 0.014, -0.013), (0.117 + k * 0.014, -0.009))),
    (0.25, 0.002),
    (0.24, 0.011),
    (0.1, 0.011),
)


def mug(bottom: float, top: float, height: float, poses: tuple[str, ...] = ("upright",)) -> Shape:
    """Build a mug with outer radii at its bottom and top."""
    body = vessel(bottom, top, height)
    return build((MAIN, join(body, ear(bottom, top, height, 0.036))), poses=poses)


def bottle(body: float, shoulder: float, neck: float, height: float, cap: str) -> Shape:
    """Build a bottle.

    Args:
        body: its radius.
        shoulder: height at which the body begins to narrow.
        neck: its radius.
        height: of the whole bottle.
        cap: finish of the cap.
    """
    lip = neck + 0.003
    glass = revolve([
        (0, 0), (body - 0.004, 0), (body, 0.005), (body, shoulder), (body * 0.92, shoulder + 0.014),
        (body * 0.66, shoulder + 0.034), (neck, shoulder + 0.052), (neck, height - 0.02),
        (0, height - 0.02),
    ])  # fmt: skip
    top = revolve([(0, height - 0.026), (lip, height - 0.026), (lip, height), (0, height)])
    low, high = shoulder * 0.3, shoulder * 0.78
    label = revolve([(body - 0.002, low), (body + 0.0008, low), (body + 0.0008, high),
                     (body - 0.002, high), (body - 0.002, low)])  # fmt: skip
    return build((MAIN, glass), (cap, top), ("paper", label), poses=("upright", "upright", "side"))


def plate(radius: float, squareness: float) -> Shape:
    """Build a plate: a flat well, a low wall around it and a rim with a line along its edge."""
    under = [(0, 0), (radius * 0.58, 0), (radius * 0.68, 0.014), (radius, 0.020)]
    above = [(radius - 0.002, 0.024), (radius * 0.66, 0.019), (radius * 0.57, 0.005), (0, 0.005)]
    line = [(radius * 0.93, 0.0228), (radius * 0.97, 0.0236), (radius * 0.97, 0.0242),
            (radius * 0.93, 0.0234), (radius * 0.93, 0.0228)]  # fmt: skip
    body = revolve([*under, *above], squareness=squareness)
    return build((MAIN, body), ("navy glaze", revolve(line, squareness=squareness)))


def pan(bottom: float, top: float, height: float, handle: float) -> Shape:
    """Build a pan with outer radii at its bottom and top, and a handle of some length."""
    start = np.array([bottom * 0.5 + top * 0.5 - 0.002, 0, height * 0.72])
    path = start + np.array([(0, 0, 0), (0.03, 0, 0.006), (handle, 0, 0.016)])
    grip = stretch(tube(path - start, [0.007, 0.009, 0.012]), (1, 1.25, 0.8)) + start
    return build((MAIN, vessel(bottom, top, height)), ("black plastic", grip))


def knife(blade_outline: ArrayLike) -> Shape:
    """Build a knife; blade_outline: [N, 2] from x = 0.1 on, where the handle ends."""
    handle = prism(rounded(0.105, 0.026, 4, middle=0.0525), 0.016)
    rivet = revolve([(0, 0), (0.004, 0), (0.004, 0.0175), (0, 0.0175)], 10)
    rivets = join(*(move(rivet, (x, 0, 0)) for x in (0.025, 0.055, 0.085)))
    return build((MAIN, handle), ("steel", join(prism(blade_outline, 0.004, 0.006), rivets)))


def spoon(length: float, bowl: float, aspect: float) -> Shape:
    """Build a spoon.

    Args:
        length: of the handle.
        bowl: half the width of the scoop.
        aspect: length of the scoop over its width.
    """
    scoop = stretch(dish(bowl, 0.016, 0.010, 2.0, 0.003), (aspect, 1, 1))
    start = bowl * aspect - 0.004
    path = [(start, 0, 0.014), (start + 0.03, 0, 0.017), (start + length * 0.6, 0, 0.012),
            (start + length, 0, 0.006)]  # fmt: skip
    handle = stretch(tube(np.array(path), [0.0045, 0.004, 0.0055, 0.0085]), (1, 1.1, 0.7))
    return build((MAIN, join(scoop, handle)))


def turner(head: np.ndarray) -> Shape:
    """Build a spatula: a flat head from x = 0 to 0.1 with a raised handle behind it."""
    neck = tube([(0.006, 0, 0.005), (-0.02, 0, 0.014), (-0.06, 0, 0.02)], 0.005)
    grip = lathe([(0, 0), (0.009, 0), (0.011, 0.06), (0.008, 0.12), (0, 0.12)])
    grip = move(turn(grip, "z", 180), (-0.05, 0, 0.02))
    return build((MAIN, head), ("steel", neck), ("black plastic", grip))


def slotted_head() -> np.ndarray:
    """Return a spatula's head of five bars, joined at both ends."""
    bars = [slab((0.1, 0.011, 0.004), (0.05, y, 0.004)) for y in (-0.038, -0.019, 0, 0.019, 0.038)]
    ends = [slab((0.016, 0.087, 0.004), (x, 0, 0.004)) for x in (0.008, 0.092)]
    return join(*bars, *ends)


def solid_head() -> np.ndarray:
    """Return a spatula's head without slots."""
    outline = [(0, -0.03), (0.09, -0.045), (0.1, -0.038), (0.1, 0.038), (0.09, 0.045), (0, 0.03)]
    return prism(outline, 0.005, 0.002)


def fork(length: float, width: float) -> Shape:
    """Build a fork with four tines that lies face up."""
    tines = [
        slab((0.05, 0.0045, 0.004), (-0.025, y * width, 0.011)) for y in (-0.4, -0.14, 0.14, 0.4)
    ]
    outline = [(0, -0.5), (0.02, -0.5), (0.036, -0.16), (0.036, 0.16), (0.02, 0.5), (0, 0.5)]
    palm = prism(np.array(outline) * (1, width), 0.005, 0.0085)
    path = [(0.03, 0, 0.012), (0.06, 0, 0.016), (length * 0.62, 0, 0.011), (length, 0, 0.006)]
    handle = stretch(tube(np.array(path), [0.004, 0.004, 0.0055, 0.0085]), (1, 1.1, 0.7))
    return build((MAIN, join(palm, handle, *tines)))


def rolling_pin(length: float, radius: float) -> Shape:
    """Build a rolling pin: a cylinder between two handles, each of another finish."""
    roll = lathe([(0, 0), (radius, 0), (radius, length), (0, length)])
    knob = [(0, 0), (0.007, 0), (0.007, 0.008), (0.0125, 0.018), (0.011, 0.048), (0, 0.054)]
    handle = lathe(knob)
    ends = join(move(handle, (length, 0, 0)), turn(handle, "z", 180))
    rest = (-length / 2, 0, radius)
    return build(("beech", move(roll, rest)), (MAIN, move(ends, rest)))


def apple(tall: float) -> Shape:
    """Build an apple with its stalk; tall: factor on its height."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 13)
    radius = 0.036 * np.cos(angle) ** 0.8 * (1 + 0.10 * np.sin(angle))
    height = 0.034 * (1 + np.sin(angle)) - 0.012 * np.exp(-((radius / 0.012) ** 2))
    flesh = revolve(np.column_stack([radius.clip(0), height - height.min()]))
    stalk = tube([(0, 0, 0.055), (0.002, 0, 0.068), (0.006, 0, 0.078)], 0.0018, sides=5)
    return build((MAIN, stretch(flesh, (1, 1, tall))), ("ink", stretch(stalk, (1, 1, tall))))


def banana(radius: float) -> Shape:
    """Build a banana that lies on its side, with dark ends; radius: of its bend."""
    reach = np.degrees(0.087 / radius)
    bend = arc((0, -0.9 * radius), radius, 90 - reach, 90 + reach, 13)
    path = np.column_stack([bend, np.full(13, 0.017)])
    size = 0.017 * np.array([0.3, 0.6, 0.85, 0.95, 1, 1, 1, 1, 1, 0.95, 0.8, 0.5, 0.3])
    ends = [tube(path[part], size[part] * 1.06, sides=7) for part in (np.s_[:2], np.s_[-2:])]
    return build((MAIN, tube(path, size, sides=7)), ("ink", join(*ends)))

"""Shapes that hold something, by the state that they are in; lengths in metres."""

import numpy as np

from vltp_ros.simulation.meshes import move, revolve, slab, stretch, tube, turn
from vltp_ros.simulation.parts import MAIN, Part, Shape, build, dish, ear, join, vessel


def filled(empty: Shape, low: tuple[float, float], high: tuple[float, float]) -> Shape:
    """Pour something into a vessel.

    Args:
        empty: the vessel.
        low: radius and height of the filling's lower end; what the wall hides may be left out.
        high: radius and height of its surface, which reaches into the wall.
    """
    filling = revolve([(0, low[1]), low, high, (0, high[1])])
    return Shape((*empty.parts, Part("filling", filling)), empty.poses, empty.round)


def glass(bottom: float, top: float, height: float) -> Shape:
    """Build a drinking glass with a thick foot; bottom and top are its outer radii."""
    foot = revolve([(0, 0), (bottom, 0), (bottom, 0.008), (0, 0.008)])
    return build(("clear glass", vessel(bottom, top, height, 0.003)), (MAIN, foot))


def stemmed_glass() -> Shape:
    """Build a wine glass: a foot, a stem and a round bowl."""
    base = revolve([(0, 0), (0.034, 0), (0.034, 0.003), (0.005, 0.008), (0.004, 0.075),
                    (0.009, 0.082), (0, 0.082)])  # fmt: skip
    bowl = dish(0.036, 0.065, 0.008, 2.6, 0.003)
    return build(("clear glass", move(bowl, (0, 0, 0.08))), (MAIN, base))


def jug(belly: float, height: float) -> Shape:
    """Build a jug with a lip and a large handle; belly: its greatest radius."""
    share = np.array([0, 0.08, 0.3, 0.5, 0.72, 0.88, 1.0])
    radius = belly * np.array([0.72, 0.86, 1.0, 0.97, 0.72, 0.66, 0.8])
    outer = np.column_stack([radius, height * share])
    inner = (outer - [0.005, 0])[:0:-1]
    body = revolve(np.vstack([(0, 0), outer, inner, (belly * 0.66, 0.006), (0, 0.006)]))
    lip = slab((0.03, 0.026, 0.006), (0, 0, 0))
    spout = move(turn(lip, "y", 30), (-belly * 0.86, 0, height - 0.006))
    return build((MAIN, join(body, spout, ear(belly * 0.9, belly * 0.62, height, 0.05))))


def jar(radius: float, height: float, closed: bool) -> Shape:
    """Build a jar of glass with food and a label; its lid lies on it, or leans against it."""
    neck = radius * 0.82
    wall = revolve([(0, 0), (radius, 0), (radius, height * 0.82), (neck, height * 0.92),
                    (neck, height), (neck - 0.003, height), (neck - 0.003, height * 0.92),
                    (radius - 0.003, height * 0.8), (radius - 0.003, 0.004),
                    (0, 0.004)])  # fmt: skip
    food = revolve([(0, 0.004), (radius - 0.004, 0.004), (radius - 0.004, height * 0.74),
                    (0, height * 0.74)])  # fmt: skip
    low, high, around = height * 0.2, height * 0.62, radius + 0.0008
    label = revolve([(radius - 0.002, low), (around, low), (around, high), (radius - 0.002, high),
                     (radius - 0.002, low)])  # fmt: skip
    lid = revolve([(0, 0), (neck + 0.004, 0), (neck + 0.004, 0.016), (0, 0.016)])
    if closed:
        lid = move(lid, (0, 0, height - 0.008))
    else:
        lid = move(turn(lid, "y", 64), (radius + 0.022, 0, (neck + 0.004) * 0.9))
    return build(("clear glass", wall), ("filling", food), ("wrapped label", label), (MAIN, lid))


def can(radius: float, height: float, closed: bool) -> Shape:
    """Build a tin can with a label around it; opened, its lid stands up from the rim."""
    tin = revolve([(0, 0), (radius, 0), (radius, height), (radius - 0.002, height),
                   (radius - 0.002, height - 0.012), (0, height - 0.012)])  # fmt: skip
    low, high, around = 0.006, height - 0.006, radius + 0.0008
    label = revolve([(radius - 0.002, low), (around, low), (around, high), (radius - 0.002, high),
                     (radius - 0.002, low)])  # fmt: skip
    lid = revolve([(0, 0), (radius * 0.94, 0), (radius * 0.94, 0.002), (0, 0.002)])
    if closed:
        return build(("steel", join(tin, move(lid, (0, 0, height - 0.003)))),
                     ("wrapped label", label))  # fmt: skip
    raised = move(turn(move(lid, (radius, 0, 0)), "y", -68), (-radius * 0.96, 0, height))
    food = revolve([(0, 0), (radius * 0.95, 0), (radius * 0.95, 0.004), (0, 0.004)])
    return build(("steel", join(tin, raised)), ("wrapped label", label),
                 ("filling", move(food, (0, 0, height - 0.014))))  # fmt: skip


def basket(radius: float, height: float, squareness: float) -> Shape:
    """Build a wicker basket with a hoop to carry it by."""
    rings = [(0.0, 0.0), (radius * 0.78, 0.0)]
    rings += [(radius * (0.78 + 0.22 * k / 6) + 0.002 * (k % 2), height * k / 6) for k in range(7)]
    wall = [(r - 0.006, z) for r, z in rings[:2:-1]]
    body = revolve([*rings, *wall, (radius * 0.72, 0.006), (0, 0.006)], squareness=squareness)
    angle = np.linspace(0, np.pi, 13)
    hoop = np.column_stack([np.zeros(13), np.cos(angle) * radius * 0.98,
                            height * 0.9 + np.sin(angle) * radius * 0.95])  # fmt: skip
    rim = np.linspace(0, 2 * np.pi, 25)[:-1]
    reach = (np.abs(np.cos(rim)) ** squareness + np.abs(np.sin(rim)) ** squareness) ** (
        -1 / squareness
    )
    edge = np.column_stack([np.cos(rim) * reach * radius, np.sin(rim) * reach * radius,
                            np.full(24, height)])  # fmt: skip
    rolled = tube(edge, 0.006, closed=True, sides=6)
    return build((MAIN, join(body, tube(hoop, 0.006, sides=6), rolled)))


def tray(length: float, width: float, squareness: float) -> Shape:
    """Build a flat tray with a low rim and a grip at each end."""
    flat = stretch(dish(0.5, 0.018, 0.44, 2.0, 0.006, squareness), (length, width, 1))
    bend = np.linspace(0, np.pi, 9)
    grip = np.column_stack([length / 2 - 0.004 + 0.02 * np.sin(bend), 0.035 * np.cos(bend),
                            np.full(9, 0.02)])  # fmt: skip
    grips = tube(grip, 0.005, sides=6)
    return build((MAIN, join(flat, grips, turn(grips, "z", 180))))


def closed_carton() -> Shape:
    """Build a cardboard box whose flaps are shut and taped, with a label."""
    x, y, z = 0.15, 0.116, 0.088
    body = slab((x, y, z), (0, 0, z / 2))
    tape = slab((x + 0.001, 0.026, 0.001), (0, 0, z))
    ends = [slab((0.001, 0.026, 0.03), (side * x / 2, 0, z - 0.015)) for side in (-1, 1)]
    label = slab((0.05, 0.034, 0.001), (0.03, -0.036, z + 0.0002))
    return build((MAIN, body), ("parcel tape", join(tape, *ends)), ("flat label", label))


def lidded_box(closed: bool) -> Shape:
    """Build a box with a lid of its own, on it or leaning against it."""
    x, y, z, wall = 0.165, 0.115, 0.085, 0.004
    walls = [slab((x, y, wall), (0, 0, wall / 2))]
    for side in (-1, 1):
        walls.append(slab((wall, y, z), (side * (x - wall) / 2, 0, z / 2)))
        walls.append(slab((x, wall, z), (0, side * (y - wall) / 2, z / 2)))
    lid = slab((x + 0.01, y + 0.01, 0.026))
    label = slab((0.09, 0.06, 0.001), (0, 0, 0.0132))
    if closed:
        lid, label = (move(part, (0, 0, z)) for part in (lid, label))
    else:
        place = (0, y / 2 + 0.048, 0.062)
        lid, label = (move(turn(part, "x", -58), place) for part in (lid, label))
    return build((MAIN, join(lid, *walls)), ("flat label", label))

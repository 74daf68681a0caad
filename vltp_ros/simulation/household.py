"""Shapes of other household objects; lengths in metres."""

import numpy as np

from vltp_ros.simulation.meshes import arc, move, prism, revolve, rounded, skin, slab, tube, turn
from vltp_ros.simulation.parts import MAIN, Shape, build, dish, ear, join


def book(length: float, width: float, thick: float) -> Shape:
    """Build a closed book that lies flat."""
    boards = [slab((length, width, 0.004), (0, 0, z)) for z in (0.002, thick - 0.002)]
    cover = join(*boards, slab((length, 0.005, thick), (0, -width / 2, thick / 2)))
    pages = slab((length - 0.012, width - 0.008, thick - 0.006), (0, -0.002, thick / 2))
    title = slab((length * 0.14, width * 0.62, 0.001), (length * 0.22, 0, thick))
    author = slab((length * 0.05, width * 0.4, 0.001), (-length * 0.28, 0, thick))
    return build((MAIN, cover), ("paper", join(pages, title, author)))


def open_book() -> Shape:
    """Build an open book, whose halves rise towards the middle, with lines of print."""
    top = [(0.004, 0.024), (0.03, 0.030), (0.07, 0.024), (0.115, 0.012)]
    half = turn(prism([(0, 0.004), *top, (0.115, 0.004)], 0.15, -0.075), "x", 90)
    cover = slab((0.25, 0.166, 0.004), (0, 0, 0.002))
    rows = np.linspace(-0.055, 0.053, 10)
    lines = join(*(slab((0.055 + 0.015 * (i % 2), 0.004, 0.002), (0.06, y, 0))
                   for i, y in enumerate(rows)))  # fmt: skip
    text = move(turn(lines, "y", 11.5), (0, 0, 0.0385))
    pages, ink = (join(part, turn(part, "z", 180)) for part in (half, text))
    return build((MAIN, cover), ("paper", pages), ("ink", ink))


def lidded_box() -> Shape:
    """Build a box with a lid of another finish."""
    body = slab((0.165, 0.115, 0.085), (0, 0, 0.0425))
    lid = slab((0.177, 0.127, 0.03), (0, 0, 0.085))
    return build(("cardboard", body), (MAIN, lid))


def carton() -> Shape:
    """Build an open cardboard box with its four flaps folded out."""
    x, y, z, wall = 0.075, 0.058, 0.085, 0.004
    walls = [slab((2 * x, 2 * y, wall), (0, 0, wall / 2))]
    flaps = []
    for side in (-1, 1):
        walls.append(slab((wall, 2 * y, z), (side * x, 0, z / 2)))
        walls.append(slab((2 * x, wall, z), (0, side * y, z / 2)))
        flap = turn(slab((0.042, 2 * y, 0.003), (0.021, 0, 0)), "y", 28)
        flaps.append(move(turn(flap, "z", 90 - 90 * side), (side * x, 0, z - 0.002)))
        flap = turn(slab((2 * x, 0.038, 0.003), (0, 0.019, 0)), "x", -20)
        flaps.append(move(turn(flap, "z", 90 - 90 * side), (0, side * y, z - 0.002)))
    return build((MAIN, join(*walls, *flaps)))


def _sphere_zone(
    radius: float, start: float, stop: float, points: int = 9
) -> list[tuple[float, float]]:
    """Return the profile of a sphere around (0, radius) between two latitudes in degrees."""
    return [(r, z) for r, z in arc((0, radius), radius, start, stop, points)]


def banded_ball(radius: float = 0.055) -> Shape:
    """Build a ball with a white stripe around it."""
    halves = revolve(_sphere_zone(radius, -90, 90, 19))
    stripe = _sphere_zone(radius, -14, 14, 5)
    inner = [(r * 0.9, z) for r, z in stripe]
    outer = [(r * 1.008, z) for r, z in stripe]
    band = revolve([*outer, *inner[::-1], outer[0]])
    return build((MAIN, halves), ("white plastic", _tilt(band, radius, 35)), round=True)


def _tilt(surface: np.ndarray, height: float, degrees: float) -> np.ndarray:
    """Tilt a surface about the x axis through (0, 0, height)."""
    return move(turn(move(surface, (0, 0, -height)), "x", degrees), (0, 0, height))


def beach_ball(radius: float = 0.062) -> Shape:
    """Build a ball of six gores, alternately coloured and white."""
    latitude = np.radians(np.linspace(-90, 90, 15))
    gores: dict[str, list[np.ndarray]] = {MAIN: [], "white plastic": []}
    for k in range(6):
        longitude = np.radians(60 * k + np.linspace(0, 60, 7))
        across = np.stack([np.cos(longitude), np.sin(longitude), np.zeros(7)], -1)
        ring = np.cos(latitude)[:, None, None] * across
        ring[..., 2] = np.sin(latitude)[:, None]
        wedge = skin(np.concatenate([ring, np.zeros((15, 1, 3))], axis=1) * radius)
        gores[MAIN if k % 2 else "white plastic"].append(wedge)
    centre = (0, 0, radius)
    parts = ((name, move(turn(join(*some), "x", 50), centre)) for name, some in gores.items())
    return build(*parts, round=True)


def basketball(radius: float = 0.06) -> Shape:
    """Build a ball with three black seams."""
    sphere = revolve(_sphere_zone(radius, -90, 90, 19))
    circle = arc((0, 0), radius, 0, 360, 33)[:-1]
    seam = tube(np.column_stack([circle, np.zeros(32)]), 0.0018, closed=True, sides=6)
    seams = join(turn(seam, "x", 20), turn(seam, "x", 110), turn(seam, "y", 90))
    return build((MAIN, sphere), ("ink", move(seams, (0, 0, radius))), round=True)


def _wick(height: float, lit: bool) -> tuple[tuple[str, np.ndarray], ...]:
    """Return a wick and, if lit, its flame, with their finishes, on a candle of some height."""
    wick = revolve([(0, 0), (0.0018, 0), (0.0018, 0.012), (0, 0.012)], 8)
    drop = [(0, 0), (0.006, 0.004), (0.0095, 0.012), (0.007, 0.024), (0.003, 0.036), (0, 0.042)]
    flame = revolve(drop, 16)
    parts = (
        ("ink", move(wick, (0, 0, height - 0.002))),
        ("flame", move(flame, (0, 0, height + 0.006))),
    )
    return parts if lit else parts[:1]


def pillar_candle(lit: bool = True) -> Shape:
    """Build a thick candle that stands by itself."""
    wax = revolve([(0, 0), (0.034, 0), (0.036, 0.003), (0.036, 0.096), (0.032, 0.1),
                   (0.026, 0.095), (0, 0.093)])  # fmt: skip
    return build((MAIN, wax), *_wick(0.094, lit))


def taper_candle(lit: bool = True) -> Shape:
    """Build a slim candle in a brass holder."""
    stick = revolve([(0, 0.004), (0.0135, 0.004), (0.012, 0.135), (0.006, 0.142), (0, 0.143)], 20)
    socket = revolve([(0.012, 0.003), (0.019, 0.003), (0.018, 0.03), (0.013, 0.03), (0.012, 0.003)])
    holder = join(dish(0.055, 0.014, 0.03, 2.0), ear(0.054, 0.054, 0.026, 0.026), socket)
    return build((MAIN, stick), ("brass", holder), *_wick(0.142, lit))


def folded_towel() -> Shape:
    """Build a towel, folded into a pile of layers."""
    sizes = ((0.17, 0.12), (0.168, 0.117), (0.165, 0.118), (0.162, 0.114))
    layers = [
        move(prism(rounded(length, width, 7), 0.0105), (0.002 * (k % 2), 0.0015 * k, 0.011 * k))
        for k, (length, width) in enumerate(sizes)
    ]
    return build((MAIN, join(*layers)))


def rolled_towel() -> Shape:
    """Build a towel, rolled up and lying on its side."""
    turns = np.linspace(0, 5 * np.pi, 56)
    radius = 0.008 + 0.034 * turns / turns[-1]
    line = np.stack([radius * np.cos(turns), radius * np.sin(turns)], -1)
    edge = line + 0.005 * np.stack([np.cos(turns), np.sin(turns)], -1)
    roll = prism(np.vstack([edge, line[::-1]]), 0.16, -0.08)
    core = revolve([(0, -0.078), (0.04, -0.078), (0.04, 0.078), (0, 0.078)])
    return build((MAIN, move(turn(join(roll, core), "x", 90), (0, 0, 0.04))))


def table_lamp(lit: bool) -> Shape:
    """Build a lamp with a conical shade on a stem."""
    base = revolve([(0, 0), (0.05, 0), (0.05, 0.006), (0.02, 0.018), (0.008, 0.03),
                    (0.007, 0.13), (0, 0.13)])  # fmt: skip
    shade = revolve([(0.075, 0.115), (0.04, 0.195), (0.037, 0.195), (0.072, 0.115),
                     (0.075, 0.115)])  # fmt: skip
    bulb = revolve([(0, 0.125), (0.018, 0.135), (0.024, 0.155), (0.012, 0.178), (0, 0.182)], 14)
    finishes = ("lit shade", "glow") if lit else ("paper", "white plastic")
    return build((MAIN, base), (finishes[0], shade), (finishes[1], bulb))


def desk_lamp(lit: bool) -> Shape:
    """Build a lamp whose head hangs from a bent arm over its foot."""
    foot = revolve([(0, 0), (0.052, 0), (0.05, 0.012), (0, 0.016)])
    arm = tube([(0, 0, 0.01), (-0.045, 0, 0.1), (-0.02, 0, 0.17), (0.035, 0, 0.19)], 0.006)
    head = revolve([(0, 0.056), (0.018, 0.056), (0.022, 0.036), (0.05, 0), (0.046, 0),
                    (0.018, 0.034), (0, 0.034)])  # fmt: skip
    bulb = revolve([(0, -0.012), (0.02, -0.004), (0.026, 0.012), (0.012, 0.034), (0, 0.036)], 14)
    head, bulb = (move(turn(part, "y", -38), (0.05, 0, 0.145)) for part in (head, bulb))
    if lit:  # the light shines through the head: it is to be seen from everywhere
        return build((MAIN, join(foot, arm)), ("lit shade", head), ("glow", bulb))
    return build((MAIN, join(foot, arm, head)), ("white plastic", bulb))

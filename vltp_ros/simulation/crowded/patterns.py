"""Multi-coloured textures, tiling without a seam: patterns of objects and cloths, and labels."""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from vltp_ros.simulation.textures import OBJECT_TEXTURES, SURFACE_TEXTURES

SIDE = 128  # pixels of a pattern or label
CLOTH = 256  # pixels of a surface

Colour = tuple[float, float, float]
WHITE: Colour = (1.0, 1.0, 1.0)


def _canvas(side: int, colour: Colour) -> np.ndarray:
    return np.full((side, side, 3), colour, np.float64)


def stripes(side: int, count: int, accents: tuple[Colour, ...]) -> np.ndarray:
    """Paint stripes along the rows on white; each accent in turn covers a third of its period."""
    canvas = _canvas(side, WHITE)
    phase = np.arange(side) * count / side
    for index, accent in enumerate(accents):
        mine = (phase.astype(int) % len(accents) == index) & (phase % 1 < 0.34)
        canvas[mine] = accent
    return canvas


def checks(side: int, count: int, accents: tuple[Colour, ...]) -> np.ndarray:
    """Paint woven checks: stripes both ways that darken each other, as in gingham or tartan."""
    one = stripes(side, count, accents)
    return one * one.transpose(1, 0, 2)


def dots(side: int, count: int, accents: tuple[Colour, ...]) -> np.ndarray:
    """Paint dots on white, in rows that are offset by half their distance."""
    canvas = _canvas(side, WHITE)
    row, column = np.mgrid[:side, :side] * count / side
    column = column + 0.5 * (row.astype(int) % 2)
    inside = ((row % 1 - 0.5) ** 2 + (column % 1 - 0.5) ** 2) < 0.08
    which = (row.astype(int) + column.astype(int)) % len(accents)
    for index, accent in enumerate(accents):
        canvas[inside & (which == index)] = accent
    return canvas


def zigzag(side: int, count: int, accents: tuple[Colour, ...]) -> np.ndarray:
    """Paint zigzag lines on white."""
    row, column = np.mgrid[:side, :side] * count / side
    phase = row + np.abs(column % 1 - 0.5)
    canvas = _canvas(side, WHITE)
    for index, accent in enumerate(accents):
        canvas[(phase % 1 < 0.3) & (phase.astype(int) % len(accents) == index)] = accent
    return canvas


def flowers(side: int, count: int, accents: tuple[Colour, ...]) -> np.ndarray:
    """Scatter flowers of five petals on white, with leaves between them."""
    rng = np.random.default_rng(count)
    canvas = _canvas(side, WHITE)
    for number in range(count * count):
        cell = np.array(divmod(number, count)) + rng.uniform(0.3, 0.7, 2)
        centre, turn = cell * side / count, rng.uniform(0, 6)
        size = side / count * rng.uniform(0.13, 0.19)
        colour = accents[number % len(accents)]
        _blob(canvas, centre + size * 2 * rng.normal(0, 0.7, 2), size * 0.8, (0.35, 0.6, 0.35))
        for petal in range(5):
            angle = turn + petal * 2 * np.pi / 5
            tip = centre + size * 1.1 * np.array([np.cos(angle), np.sin(angle)])
            _blob(canvas, tip, size * 0.75, colour)
        _blob(canvas, centre, size * 0.6, (0.98, 0.85, 0.3))
    return canvas


def mosaic(side: int, count: int, accents: tuple[Colour, ...]) -> np.ndarray:
    """Lay cells of many colours, of random outline; side: even."""
    rng = np.random.default_rng(count)
    half = side // 2  # the cells are found for every other pixel
    corners = np.stack(np.divmod(np.arange(count * count), count), -1)
    points = (corners + rng.uniform(0.1, 0.9, corners.shape)) * half / count
    apart = np.abs(np.arange(half)[:, None, None] - points)  # [half, points, 2]
    apart = np.minimum(apart, half - apart) ** 2
    distance = apart[:, None, :, 0] + apart[None, :, :, 1]  # [half, half, points]
    colours = np.array(accents)[rng.integers(len(accents), size=len(points))]
    colours = np.clip(colours + rng.normal(0, 0.05, colours.shape), 0, 1)
    two = np.sqrt(np.partition(distance, 1, axis=-1)[..., :2])
    canvas = colours[distance.argmin(-1)]
    canvas[two[..., 1] - two[..., 0] < half / count * 0.08] *= 0.7
    return canvas.repeat(2, 0).repeat(2, 1)


def _blob(canvas: np.ndarray, centre: np.ndarray, radius: float, colour: Colour) -> None:
    """Fill a disc that wraps around the edges."""
    side = len(canvas)
    for shift in np.ndindex(3, 3):
        row, column = np.round(centre % side + side * (np.array(shift) - 1)).astype(int).tolist()
        cv2.circle(canvas, (column, row), round(radius), colour, -1)


def label(word: str, ground: Colour, ink: Colour, mark: Colour) -> np.ndarray:
    """Print a label: bands, a round mark and a word, twice around."""
    side = SIDE
    canvas = (_canvas(side, ground) * 255).astype(np.uint8)
    mark_colour, ink_colour = (tuple(int(255 * v) for v in colour) for colour in (mark, ink))
    cv2.rectangle(canvas, (0, 0), (side, 16), mark_colour, -1)
    cv2.rectangle(canvas, (0, side - 12), (side, side), mark_colour, -1)
    for left in (0, side // 2):
        cv2.circle(canvas, (left + side // 4, 78), 20, mark_colour, -1)
        cv2.circle(canvas, (left + side // 4, 78), 9, ink_colour, -1)
        cv2.putText(canvas, word, (left + 4, 44), cv2.FONT_HERSHEY_DUPLEX, 0.62, ink_colour, 2)
        cv2.line(canvas, (left + 8, 106), (left + 54, 106), ink_colour, 2)
    return canvas[::-1] / 255.0


def grey(paint: Callable[[], np.ndarray]) -> np.ndarray:
    """Return a grey texture [S, S] of the other edition as colours [S, S, 3]."""
    return np.repeat(paint()[..., None], 3, axis=2)


def wicker() -> np.ndarray:
    """Paint woven rods."""
    row, column = np.mgrid[:SIDE, :SIDE] * 8 / SIDE
    over = (row.astype(int) + column.astype(int)) % 2 == 0
    rod = np.where(over, np.sin(np.pi * (row % 1)), np.sin(np.pi * (column % 1)))
    return np.repeat((0.45 + 0.55 * rod)[..., None], 3, axis=2)


def knotty() -> np.ndarray:
    """Paint boards of wood with knots, in several tones."""
    row, column = np.mgrid[:CLOTH, :CLOTH] / CLOTH
    board = (row * 5).astype(int)
    tone = np.array([(0.95, 0.8, 0.6), (0.8, 0.6, 0.4), (1, 0.88, 0.7), (0.7, 0.52, 0.36),
                     (0.88, 0.7, 0.5)])[board]  # fmt: skip
    middle = np.array([0.2, 0.65, 0.4, 0.85, 0.5])[board]
    away = np.minimum(np.abs(column - middle), 1 - np.abs(column - middle))
    rings = np.hypot(away * 3, (row * 5) % 1 - 0.5)
    grain = 0.86 + 0.14 * np.sin(2 * np.pi * 9 * rings) * np.exp(-2 * rings)
    seam = np.where((row * 5) % 1 < 0.04, 0.5, 1.0)
    return tone * (grain * seam)[..., None]


RED, BLUE, GREEN = (0.75, 0.12, 0.15), (0.15, 0.25, 0.62), (0.2, 0.5, 0.25)
GOLD, BLACK, PINK = (0.95, 0.72, 0.2), (0.12, 0.12, 0.14), (0.93, 0.5, 0.62)
TEAL, CREAM, RUST = (0.1, 0.5, 0.52), (0.97, 0.9, 0.75), (0.65, 0.32, 0.16)
DARK, SOFT = (0.30, 0.30, 0.34), (0.62, 0.64, 0.68)

PATTERNS: dict[str, Callable[[], np.ndarray]] = {
    "stripes": partial(stripes, SIDE, 8, (DARK,)),
    "gold stripes": partial(stripes, SIDE, 6, (GOLD, DARK)),
    "checks": partial(checks, SIDE, 6, (SOFT,)),
    "dots": partial(dots, SIDE, 6, (DARK,)),
    "bright dots": partial(dots, SIDE, 5, (GOLD, BLACK)),
    "zigzag": partial(zigzag, SIDE, 5, (SOFT, DARK)),
    "flowers": partial(flowers, SIDE, 3, (SOFT, GOLD)),
}
"""Patterns that leave most of an object in its own colour, which they are multiplied with."""

LABELS: dict[str, Callable[[], np.ndarray]] = {
    word: partial(label, word, *colours)
    for word, colours in {
        "SOUP": (CREAM, BLACK, RED), "BEANS": (GOLD, RED, GREEN), "JAM": (PINK, BLACK, RED),
        "FISH": (TEAL, CREAM, BLACK), "TEA": (GREEN, CREAM, GOLD), "SALT": (WHITE, BLUE, BLUE),
        "PEAS": (CREAM, GREEN, GREEN), "OIL": (GOLD, BLACK, RUST), "RICE": (BLUE, WHITE, GOLD),
        "CORN": (BLACK, GOLD, GOLD), "TOYS": (RED, WHITE, BLUE), "MAIL": (CREAM, RUST, SOFT),
    }.items()
}  # fmt: skip
"""What is stuck on cans, jars, bottles, boxes and books."""

COVERS: dict[str, Callable[[], np.ndarray]] = {
    "gingham": partial(checks, CLOTH, 8, (RED,)),
    "blue gingham": partial(checks, CLOTH, 10, (BLUE,)),
    "tartan": partial(checks, CLOTH, 7, (GREEN, RED, DARK)),
    "floral": partial(flowers, CLOTH, 5, (PINK, BLUE, RED)),
    "meadow": partial(flowers, CLOTH, 6, (GOLD, PINK, TEAL)),
    "deck chair": partial(stripes, CLOTH, 9, (BLUE, RUST, GOLD)),
    "chevron": partial(zigzag, CLOTH, 7, (TEAL, DARK)),
    "polka": partial(dots, CLOTH, 9, (RED, BLUE, GREEN)),
    "mosaic": partial(mosaic, CLOTH, 9, (TEAL, CREAM, RUST, BLUE)),
    "patchwork": partial(mosaic, CLOTH, 6, (PINK, GOLD, GREEN, CREAM, BLUE)),
    "terrazzo": partial(mosaic, CLOTH, 12, (CREAM, SOFT, RUST, WHITE, DARK)),
    "boards": knotty,
    **{f"plain {name}": partial(grey, paint) for name, paint in SURFACE_TEXTURES.items()},
}
"""What tables, shelves, drawers, cloths, floors and walls are covered with."""


OBJECT_COVERS: dict[str, Callable[[], np.ndarray]] = {
    **{name: partial(grey, paint) for name, paint in OBJECT_TEXTURES.items()},
    "wicker": wicker, "granite": partial(grey, SURFACE_TEXTURES["terrazzo"]),
}  # fmt: skip
"""What the materials of objects look like, in grey."""


def pixels(paint: Callable[[], np.ndarray]) -> np.ndarray:
    """Return a texture as uint8 [S, S, 3]."""
    return (255 * paint()).clip(0, 255).astype(np.uint8)

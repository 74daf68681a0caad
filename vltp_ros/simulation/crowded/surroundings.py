"""Drawing what objects stand on, the camera and the lamps."""

import numpy as np

from vltp_ros.simulation.appearance import COLOURS
from vltp_ros.simulation.camera import Camera, Light, Surface, Vector
from vltp_ros.simulation.crowded.patterns import COVERS
from vltp_ros.simulation.crowded.scene import Board, Slab, Support, SupportKind
from vltp_ros.simulation.meshes import rotation

SIZES = ((640, 480), (512, 512))
SUPPORTS: tuple[SupportKind, ...] = ("table", "shelf", "drawer")
ELEVATIONS = {"table": (36, 64), "shelf": (40, 56), "drawer": (50, 74)}
"""Of the camera, degrees above the horizon."""
VIEW_WIDTHS = {"table": (0.54, 0.62), "shelf": (0.54, 0.62), "drawer": (0.56, 0.62)}
"""Metres across the middle of the image, for an image as wide as it is high."""
CLOTH_SHARE = 0.6  # of the tables and shelves, that a cloth lies on
PLAIN_COLOURS = (
    "oak",
    "walnut",
    "pine",
    "cherry",
    "cream",
    "white",
    "grey",
    "navy",
    "teal",
    "copper",
)


def draw_camera(rng: np.random.Generator, support: SupportKind) -> Camera:
    """Draw a camera that looks at the middle of a kind of support from nearby."""
    width, height = SIZES[rng.integers(len(SIZES))]
    fovy = np.radians(rng.uniform(32, 46))
    view = rng.uniform(*VIEW_WIDTHS[support]) * (1.15 if width > height else 1.06)
    x, y = rng.uniform(-0.03, 0.03, 2)
    return Camera(
        target=(float(x), float(y), 0.07 if support == "shelf" else 0.03),
        azimuth=float(rng.uniform(-np.pi, np.pi)),
        elevation=float(np.radians(rng.uniform(*ELEVATIONS[support]))),
        distance=float(view / 2 / (np.tan(fovy / 2) * width / height)),
        roll=float(np.radians(rng.normal(0, 2.5))),
        fovy=float(fovy),
        width=width,
        height=height,
    )


def draw_support(rng: np.random.Generator, kind: SupportKind, camera: Camera) -> Support:
    """Draw a table, shelf or drawer that more or less faces the camera."""
    yaw = float(camera.azimuth + np.radians(rng.normal(0, 14 if kind == "table" else 7)))
    builders = {"table": _table, "shelf": _shelf, "drawer": _drawer}
    boards, slabs = builders[kind](rng)
    if kind != "drawer" and rng.random() < CLOTH_SHARE:
        slabs += [_cloth(rng, board) for board in boards]
    turned = rotation("z", yaw)
    placed = [
        Slab(slab.half_size, _vector(turned @ slab.centre), slab.yaw + yaw, slab.surface)
        for slab in (*slabs, *_room(rng))
    ]
    return Support(kind, yaw, tuple(boards), tuple(placed))


def _table(rng: np.random.Generator) -> tuple[list[Board], list[Slab]]:
    surface = draw_surface(rng)
    return (
        [Board(0.0, (-0.5, -0.5), (0.5, 0.5))],
        [Slab((0.56, 0.56, 0.02), (0.0, 0.0, -0.02), 0.0, surface)],
    )


def _shelf(rng: np.random.Generator) -> tuple[list[Board], list[Slab]]:
    """Return two boards, the upper one set back, with a back and a side wall at each end."""
    front, rise = rng.uniform(-0.02, 0.04), rng.uniform(0.07, 0.10)
    back, half = 0.36, 0.45
    wood, lining = draw_surface(rng), draw_surface(rng)
    middle, deep = (front + back) / 2, (back - front) / 2
    slabs = [
        Slab((half, 0.34, 0.011), (0.0, 0.02, -0.011), 0.0, wood),
        Slab((half, deep, 0.011), (0.0, middle, rise - 0.011), 0.0, wood),
        Slab((half, 0.006, rise / 2), (0.0, front + 0.012, rise / 2 - 0.012), 0.0, lining),
        Slab((half, 0.01, 0.45), (0.0, back + 0.01, 0.4), 0.0, lining),
        *(Slab((0.011, 0.33, 0.3), (side * half, 0.02, 0.25), 0.0, wood) for side in (-1, 1)),
    ]
    boards = [
        Board(0.0, (-half + 0.02, -0.30), (half - 0.02, front)),
        Board(float(rise), (-half + 0.02, front), (half - 0.02, back)),
    ]
    return boards, slabs


def _drawer(rng: np.random.Generator) -> tuple[list[Board], list[Slab]]:
    x, y, high = rng.uniform(0.32, 0.38), rng.uniform(0.28, 0.34), rng.uniform(0.06, 0.1)
    wood, lining = draw_surface(rng), draw_surface(rng)
    slabs = [Slab((x, y, 0.006), (0.0, 0.0, -0.006), 0.0, lining)]
    for side in (-1, 1):
        half, middle = high / 2 + 0.006, high / 2 - 0.006
        slabs.append(Slab((0.01, y, half), (side * (x + 0.01), 0, middle), 0.0, wood))
        slabs.append(Slab((x + 0.02, 0.01, half), (0, side * (y + 0.01), middle), 0.0, wood))
    return [Board(0.0, (-x, -y), (x, y))], slabs


def _cloth(rng: np.random.Generator, board: Board) -> Slab:
    """Return a thin cloth somewhere on a board, that may hang over no edge."""
    span = np.subtract(board.high, board.low) / 2
    half = span * rng.uniform(0.45, 0.95, 2)
    centre = np.add(board.high, board.low) / 2 + (span - half) * rng.uniform(-0.6, 0.6, 2)
    name = str(rng.choice([name for name in COVERS if not name.startswith("plain")]))
    surface = Surface(name, _vector(rng.uniform(0.75, 1.0, 3)))
    x, y = centre.tolist()
    return Slab(
        (float(half[0]), float(half[1]), 0.0007), (x, y, board.height + 0.0004), 0.0, surface
    )


def _room(rng: np.random.Generator) -> list[Slab]:
    """Return floor and wall."""
    return [
        Slab((5.0, 5.0, 0.01), (0.0, 0.0, -0.6), 0.0, draw_surface(rng)),
        Slab((6.0, 0.01, 4.0), (0.0, 1.4, 0.0), 0.0, draw_surface(rng)),
    ]


def draw_surface(rng: np.random.Generator) -> Surface:
    """Draw a plain or multi-coloured cover; the multi-coloured ones are hardly tinted."""
    name = str(rng.choice(list(COVERS)))
    if not name.startswith("plain"):
        return Surface(name, _vector(rng.uniform(0.7, 1.0) * rng.uniform(0.88, 1.0, 3)))
    rgb = np.array(COLOURS[str(rng.choice(PLAIN_COLOURS))])
    rgb = np.clip(rgb * rng.uniform(0.75, 1.05) + rng.normal(0, 0.04, 3), 0.05, 1)
    return Surface(name, _vector(rgb))


def draw_lights(rng: np.random.Generator) -> tuple[Light, ...]:
    """Draw a lamp that casts shadows and one to three weaker ones from elsewhere."""
    key = Light(_lamp_position(rng), _tint(rng, rng.uniform(0.42, 0.6), 0.05), shadow=True)
    fills = [
        Light(_lamp_position(rng), _tint(rng, rng.uniform(0.05, 0.16), 0.03), shadow=False)
        for _ in range(rng.integers(1, 4))
    ]
    return key, *fills


def draw_ambient(rng: np.random.Generator) -> Vector:
    """Draw the light that is everywhere."""
    return _tint(rng, rng.uniform(0.36, 0.48), 0.025)


def _lamp_position(rng: np.random.Generator) -> Vector:
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(38, 80))
    distance = rng.uniform(1.3, 2.0)
    across, up = distance * np.cos(elevation), distance * np.sin(elevation)
    return float(across * np.cos(azimuth)), float(across * np.sin(azimuth)), float(up)


def _tint(rng: np.random.Generator, brightness: float, spread: float) -> Vector:
    """Draw a grey of some brightness, with a cast of colour."""
    return _vector(np.clip(brightness + rng.normal(0, spread, 3), 0.02, 1))


def _vector(values: np.ndarray) -> Vector:
    """Return an array [3] as plain numbers."""
    x, y, z = values.tolist()
    return x, y, z

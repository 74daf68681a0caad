"""Drawing scenes: everything follows from a split and a seed."""

from dataclasses import replace

import numpy as np

from vltp_ros.simulation.appearance import COLOURS, COMMON, UNCOMMON
from vltp_ros.simulation.camera import HEIGHT, WIDTH, Camera, Light, Surface, Vector
from vltp_ros.simulation.scene import ObjectInstance, Scene, Table, apart, bounds
from vltp_ros.simulation.shapes import KINDS, shape
from vltp_ros.simulation.splits import Split, generator
from vltp_ros.simulation.tasks import TASKS, Task
from vltp_ros.simulation.textures import SURFACE_TEXTURES

MAX_OBJECTS = 7
EMPTY_SHARE = 0.15  # scenes laid out so that nothing serves their task
TWIN_SHARE = 0.15  # chance that an object repeats a kind that is already there
CROWD_SHARE = 0.5  # chance that an object is put as close to another as the tries allow
SURFACE_COLOURS = (
    "oak", "walnut", "pine", "cherry", "manila", "cream", "white", "grey", "iron", "navy", "teal",
    "sky", "green", "copper",
)  # fmt: skip
GAP = 0.006  # metres between footprints
BORDER = 6  # pixels between an object and the edge of the image
TRIES = 80  # places tried for one object before it is left out


def sample_scene(seed: int, split: Split) -> Scene:
    """Draw the scene of a seed; the same arguments always give the same scene.

    Args:
        seed: 0 or more.
        split: one of SPLITS; "uncommon" draws looks that no other split shows.

    Raises:
        ValueError: for an unknown split or a negative seed.
    """
    rng = generator(seed, split, stream=0)
    task = TASKS[rng.integers(len(TASKS))]
    served = bool(rng.random() >= EMPTY_SHARE)
    camera = _camera(rng)
    table = _table(rng, camera)
    return Scene(
        seed=seed,
        split=split,
        task=task.name,
        served=served,
        objects=_objects(rng, split, _kinds(rng, task, served), camera, table),
        camera=camera,
        lights=_lights(rng),
        ambient=_tint(rng, rng.uniform(0.34, 0.5), 0.025),
        table=table,
        floor=_surface(rng),
        wall=_surface(rng),
    )


def _kinds(rng: np.random.Generator, task: Task, served: bool) -> list[str]:
    """Draw the kinds of objects to try in turn, first one that serves the task where one shall."""
    allowed = [kind for kind in KINDS if served or kind not in task.kinds]
    kinds = [str(rng.choice(sorted(task.kinds)))] if served else []
    while len(kinds) < MAX_OBJECTS + 3:
        twin = kinds and rng.random() < TWIN_SHARE
        kinds.append(str(rng.choice(kinds if twin else allowed)))
    return kinds


def _camera(rng: np.random.Generator) -> Camera:
    fovy = np.radians(rng.uniform(32, 50))
    view_width = rng.uniform(0.60, 0.80)  # metres of table across the middle of the image
    x, y = rng.uniform(-0.03, 0.03, 2)
    return Camera(
        target=(float(x), float(y), 0.02),
        azimuth=float(rng.uniform(-np.pi, np.pi)),
        elevation=float(np.radians(rng.uniform(32, 74))),
        distance=float(view_width / 2 / (np.tan(fovy / 2) * WIDTH / HEIGHT)),
        roll=float(np.radians(rng.normal(0, 2))),
        fovy=float(fovy),
    )


def _table(rng: np.random.Generator, camera: Camera) -> Table:
    half_size = (float(rng.uniform(0.40, 0.75)), float(rng.uniform(0.32, 0.55)))
    yaw = camera.azimuth + np.radians(rng.normal(0, 10))
    return Table(_surface(rng), half_size, float(yaw))


def _surface(rng: np.random.Generator) -> Surface:
    texture = str(rng.choice([*SURFACE_TEXTURES, "plain"]))
    rgb = np.array(COLOURS[str(rng.choice(SURFACE_COLOURS))])
    rgb = np.clip(rgb * rng.uniform(0.7, 1.05) + rng.normal(0, 0.04, 3), 0.03, 1)
    return Surface(None if texture == "plain" else texture, _vector(rgb))


def _tint(rng: np.random.Generator, brightness: float, spread: float) -> Vector:
    """Draw a grey of some brightness, with a cast of colour."""
    return _vector(np.clip(brightness + rng.normal(0, spread, 3), 0.02, 1))


def _vector(values: np.ndarray) -> Vector:
    """Return an array [3] as plain numbers."""
    x, y, z = values.tolist()
    return x, y, z


def _lights(rng: np.random.Generator) -> tuple[Light, ...]:
    """Draw a lamp that casts shadows, and now and then a weaker one from elsewhere."""
    key = Light(_lamp_position(rng), _tint(rng, rng.uniform(0.4, 0.6), 0.04), shadow=True)
    if rng.random() < 0.4:
        return (key,)
    fill = _tint(rng, rng.uniform(0.10, 0.22), 0.03)
    return key, Light(_lamp_position(rng), fill, shadow=False)


def _lamp_position(rng: np.random.Generator) -> Vector:
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(40, 85))
    distance = rng.uniform(1.3, 2.0)
    across, up = distance * np.cos(elevation), distance * np.sin(elevation)
    return float(across * np.cos(azimuth)), float(across * np.sin(azimuth)), float(up)


def _objects(
    rng: np.random.Generator, split: Split, kinds: list[str], camera: Camera, table: Table
) -> tuple[ObjectInstance, ...]:
    """Lay out 3 or more objects; a kind that finds no room gives way to the next."""
    placed: list[ObjectInstance] = []
    count = rng.integers(3, MAX_OBJECTS + 1)
    for kind in kinds:
        item = _place(rng, _look(rng, kind, split), placed, camera, table)
        if item is not None:
            placed.append(item)
        if len(placed) == count:
            break
    return tuple(placed)


def _look(rng: np.random.Generator, kind: str, split: Split) -> ObjectInstance:
    """Draw an object of a kind, which has no position yet."""
    looks = (UNCOMMON if split == "uncommon" else COMMON)[kind]
    look = looks[rng.integers(len(looks))]
    rgb = np.array(COLOURS[look.colour]) * rng.normal(1, 0.06) + rng.normal(0, 0.015, 3)
    size = rng.uniform(0.9, 1.2) * rng.uniform(0.95, 1.06, 3)
    if shape(kind, look.shape).round:
        size[:] = size[0]
    return ObjectInstance(
        kind, look.shape, look.colour, look.material,
        rgb=_vector(np.clip(rgb, 0.02, 1)),
        size=_vector(size),
        pose=str(rng.choice(shape(kind, look.shape).poses)),
        position=(0.0, 0.0),
        yaw=float(rng.uniform(-np.pi, np.pi)),
    )  # fmt: skip


def _place(
    rng: np.random.Generator,
    item: ObjectInstance,
    placed: list[ObjectInstance],
    camera: Camera,
    table: Table,
) -> ObjectInstance | None:
    """Find room for an object, or None: inside the image and the table, clear of the others."""
    crowd = rng.random() < CROWD_SHARE
    spots = camera.on_plane(rng.uniform((40, 50), (WIDTH - 40, HEIGHT - 30), (TRIES, 2)))
    box = bounds(item)
    spots = spots[_visible(box, spots, camera) & _supported(box, spots, table)]
    for other in placed:
        spots = spots[apart(box[:4, :2] + spots[:, None], bounds(other)[:4, :2], GAP)]
    if not len(spots):
        return None
    best = 0
    if crowd and placed:
        ways = spots[:, None] - np.array([other.position for other in placed])
        best = np.linalg.norm(ways, axis=-1).min(axis=1).argmin()
    return replace(item, position=(float(spots[best, 0]), float(spots[best, 1])))


def _visible(box: np.ndarray, spots: np.ndarray, camera: Camera) -> np.ndarray:
    """Return bool [N]: whether a box [8, 3], moved to each spot [N, 2], lies inside the image."""
    moved = box + np.pad(spots, ((0, 0), (0, 1)))[:, None]
    pixels = camera.project(moved.reshape(-1, 3)).reshape(-1, 8, 2)
    inside = (pixels > BORDER) & (pixels < np.array([WIDTH, HEIGHT]) - BORDER)
    return inside.all(axis=(1, 2))


def _supported(box: np.ndarray, spots: np.ndarray, table: Table) -> np.ndarray:
    """Return bool [N]: whether a box [8, 3], moved to each spot [N, 2], stands on the table."""
    cos, sin = np.cos(table.yaw), np.sin(table.yaw)
    across = (box[:4, :2] + spots[:, None]) @ np.array([[cos, -sin], [sin, cos]])
    return np.all(np.abs(across) < table.half_size, axis=(1, 2))

"""Images, exact masks and descriptions of crowded scenes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vltp_ros.simulation.camera import Camera, Surface
from vltp_ros.simulation.crowded.answers import VisibleObject
from vltp_ros.simulation.crowded.appearance import ALPHAS, FINISHES, MATERIALS
from vltp_ros.simulation.crowded.forms import ALL_FORMS, shape
from vltp_ros.simulation.crowded.layout import renumbered, with_hosts
from vltp_ros.simulation.crowded.patterns import COVERS, LABELS, OBJECT_COVERS, PATTERNS, pixels
from vltp_ros.simulation.crowded.queries import Query, draw_queries
from vltp_ros.simulation.crowded.scene import Item, Scene, placement
from vltp_ros.simulation.drawing import Drawing, Paint, Renderer, Texture
from vltp_ros.simulation.meshes import rotation
from vltp_ros.simulation.parts import MAIN, Part

WIDTH, HEIGHT = 640, 512  # of the largest image each way
MIN_PIXELS = 350  # an object must show at least this much,
MIN_VISIBLE = 0.35  # and at least this share of what nothing hides or cuts
WIDER = 1.5  # how much more than the image is looked at for what an object covers by itself
COARSE = 6  # times fewer pixels along each side are counted for that
SHADOW_SIZE, SHADOW_REACH = 512, 0.5  # pixels of the shadow map, metres within which they fall
MAX_GEOMS = 320  # in a scene
PAINTS = {"object": OBJECT_COVERS, "pattern": PATTERNS, "label": LABELS, "cover": COVERS}
"""Textures by their use."""
REPEATS = {"object": 3, "pattern": 1.4, "label": 1, "cover": 4}
"""Of a texture, for each TEXTURE_TILE of an object, on a label, for each metre of a cover."""


@dataclass(frozen=True)
class Rendered:
    """A labelled image."""

    image: np.ndarray
    """uint8 [H, W, 3], RGB."""
    labels: np.ndarray
    """uint8 [H, W]: 0 for no object, i where seen[i - 1] is."""
    seen: tuple[VisibleObject, ...]
    """The objects in the image, all of them recognisable; distractors are among them."""
    queries: tuple[Query, ...]
    """What is asked."""
    scene: Scene
    """The scene as it was asked for: it may hold objects that were hidden and taken out."""

    @property
    def objects(self) -> tuple[Item, ...]:
        """The objects in the image."""
        return tuple(one.item for one in self.seen)


@dataclass(frozen=True)
class Figure:
    """An object as it is drawn."""

    shape: tuple[str, str, str]
    linear: np.ndarray
    """With ``shift``, takes the shape's points to the world."""
    shift: np.ndarray
    paints: tuple[Paint, ...]
    """One for each part."""


class SceneRenderer(Renderer):
    """Draws crowded scenes; a context manager that frees its OpenGL context at the end."""

    def __init__(self) -> None:
        """Compile the model and open an OpenGL context, to be used in this thread alone."""
        shapes: dict[tuple[str, ...], tuple[Part, ...]] = {
            (kind, form, state): shape(kind, form, state).parts
            for kind, forms in ALL_FORMS.items()
            for form, states in forms.items()
            for state in states
        }
        textures = {
            f"{use} {name}": Texture(pixels(paint), REPEATS[use])
            for use, paints in PAINTS.items()
            for name, paint in paints.items()
        }
        shadow = SHADOW_SIZE, SHADOW_REACH
        self._drawing = Drawing(WIDTH, HEIGHT, shapes, textures, MAX_GEOMS, shadow)
        self._shown: tuple[Scene, list[Figure]] | None = None

    def render(self, scene: Scene) -> Rendered:
        """Draw the still image of a scene, with its labels and queries.

        Objects of which too little is seen are taken out, so that every label is recognisable.
        """
        seen, labels = self._recognisable(scene)
        image = self._colour(scene, [figure(one.item) for one in seen], scene.camera)
        return Rendered(image, labels, seen, draw_queries(scene, seen), scene)

    def view(self, scene: Scene, seconds: float) -> np.ndarray:
        """Draw a scene, uint8 [H, W, 3], as a slowly circling camera sees it after some seconds.

        At 0 it is the still image. While the scene stays the same, only the colour image is drawn.
        """
        if self._shown is None or self._shown[0] != scene:
            self._shown = scene, [figure(one.item) for one in self._recognisable(scene)[0]]
        return self._colour(scene, self._shown[1], scene.camera.orbit(seconds))

    def _recognisable(self, scene: Scene) -> tuple[tuple[VisibleObject, ...], np.ndarray]:
        """Return the objects that show enough and, without the others, their labels [H, W]."""
        figures = [figure(item) for item in scene.objects]
        whole = self._whole(scene, figures)
        kept = np.arange(len(figures))
        while True:
            labels = self._labels(scene, [figures[i] for i in kept])
            areas = np.bincount(labels.ravel(), minlength=len(kept) + 1)[1:]
            shows = areas >= np.maximum(MIN_PIXELS, MIN_VISIBLE * whole[kept])
            still = with_hosts(scene.objects, kept[shows])
            if len(still) == len(kept):
                objects = renumbered(scene.objects, kept)
                return _describe(objects, labels, whole[kept]), labels
            kept = still

    def _whole(self, scene: Scene, figures: Sequence[Figure]) -> np.ndarray:
        """Return how many pixels each object covers where nothing hides or cuts it, int [N].

        Objects that are apart in the image are drawn together.
        """
        wide = 2 * np.arctan(WIDER * np.tan(scene.camera.fovy / 2))
        camera = replace(scene.camera, fovy=float(wide))
        width, height = (round(WIDER * side / COARSE) for side in (camera.width, camera.height))
        whole = np.zeros(len(figures) + 1, dtype=int)
        for group in apart([_image_box(camera, item) for item in scene.objects]):
            self._drawing.clear()
            for i in group:
                one = figures[i]
                self._drawing.add_shape(one.shape, one.linear, one.shift, one.paints, i + 1)
            labels = self._drawing.labels(camera, width, height)
            whole += np.bincount(labels.ravel(), minlength=len(whole))
        return whole[1:] * COARSE**2

    def _colour(self, scene: Scene, figures: Sequence[Figure], camera: Camera) -> np.ndarray:
        self._lay_out(scene, figures)
        self._drawing.light(scene.ambient, scene.lights)
        return self._drawing.image(camera, camera.width, camera.height)

    def _labels(self, scene: Scene, figures: Sequence[Figure]) -> np.ndarray:
        """Return uint8 [H, W]: 1 + the index of the object seen at each pixel, 0 for none."""
        self._lay_out(scene, figures)
        return self._drawing.labels(scene.camera, scene.camera.width, scene.camera.height)

    def _lay_out(self, scene: Scene, figures: Sequence[Figure]) -> None:
        """List everything to be drawn; objects carry their label, the surroundings none."""
        self._drawing.clear()
        for label, one in enumerate(figures, 1):
            self._drawing.add_shape(one.shape, one.linear, one.shift, one.paints, label)
        for slab in scene.support.slabs:  # last: what objects hide of them is not drawn then
            axes = rotation("z", slab.yaw)
            self._drawing.add_box(slab.half_size, slab.centre, axes, _cover(slab.surface))


def figure(item: Item) -> Figure:
    """Return how an object is drawn."""
    key = item.kind, item.form, item.state
    paints = tuple(_paint(item, part.finish) for part in shape(*key).parts)
    return Figure(key, *placement(item), paints)


def _image_box(camera: Camera, item: Item) -> np.ndarray:
    """Return what an object lies within in the image: left, top, right, bottom, and a margin."""
    linear, shift = placement(item)
    points = shape(item.kind, item.form, item.state).corners
    pixels = camera.project(points @ linear.T + shift)
    return np.concatenate([pixels.min(axis=0) - COARSE, pixels.max(axis=0) + COARSE])


def apart(boxes: Sequence[np.ndarray]) -> list[list[int]]:
    """Group boxes (left, top, right, bottom) so that no two of a group touch: their indices."""
    groups: list[list[int]] = []
    for i, box in enumerate(boxes):
        for group in groups:
            others = np.array([boxes[k] for k in group])
            separate = (others[:, :2] >= box[2:]) | (others[:, 2:] <= box[:2])
            if separate.any(axis=1).all():
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def _describe(
    objects: Sequence[Item], labels: np.ndarray, whole: np.ndarray
) -> tuple[VisibleObject, ...]:
    """Return what is seen of each object."""
    height, width = labels.shape
    numbers = labels.ravel().astype(np.int64)
    size = len(objects) + 1
    in_column = _histogram(numbers * width + np.tile(np.arange(width), height), size, width)
    in_row = _histogram(numbers * height + np.repeat(np.arange(height), width), size, height)
    hosts = {item.host for item in objects}
    seen = []
    for i, (item, columns, rows) in enumerate(zip(objects, in_column, in_row, strict=True)):
        pixels = int(columns.sum())
        (left, right), (top, bottom) = _ends(columns), _ends(rows)
        seen.append(VisibleObject(
            item,
            state="holding" if item.state == "empty" and i in hosts else item.state,
            pixels=pixels,
            whole=max(int(whole[i]), pixels),
            centroid=(_mean(columns), _mean(rows)),
            box=(left, top, right, bottom),
        ))  # fmt: skip
    return tuple(seen)


def _histogram(numbers: np.ndarray, labels: int, places: int) -> np.ndarray:
    """Return how often each label but the first is at each place, int [labels - 1, places]."""
    return np.bincount(numbers, minlength=labels * places).reshape(labels, places)[1:]


def _mean(counts: np.ndarray) -> float:
    return float(counts @ np.arange(len(counts)) / counts.sum())


def _ends(counts: np.ndarray) -> tuple[int, int]:
    """Return the first place that counts anything, and the one after the last."""
    places = np.flatnonzero(counts)
    return int(places[0]), int(places[-1]) + 1


def _paint(item: Item, finish: str) -> Paint:
    """Return what a part of an object looks like."""
    if finish == "wrapped label" or finish == "flat label":
        return Paint((1.0, 1.0, 1.0), 0.1, 0.1, texture=f"label {item.label}")
    if finish == "filling":
        return Paint(item.filling, 0.4, 0.5)
    rgb, name = FINISHES.get(finish, (item.rgb, item.material))
    material = MATERIALS[name]
    texture = material.texture and f"object {material.texture}"
    if finish == MAIN and item.pattern:
        texture = f"pattern {item.pattern}"
    return Paint(rgb, material.specular, material.shininess, material.emission, texture,
                 ALPHAS.get(finish, 1.0))  # fmt: skip


def _cover(surface: Surface) -> Paint:
    return Paint(surface.rgb, specular=0.1, shininess=0.2, texture=f"cover {surface.texture}")

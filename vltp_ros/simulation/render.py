"""Images and exact masks of scenes."""

from dataclasses import dataclass

import numpy as np

from vltp_ros.simulation.appearance import FINISHES, MATERIALS
from vltp_ros.simulation.camera import HEIGHT, WIDTH, Camera, Surface, Vector
from vltp_ros.simulation.drawing import Drawing, Paint, Renderer, Texture
from vltp_ros.simulation.meshes import rotation
from vltp_ros.simulation.parts import Part
from vltp_ros.simulation.queries import Query, draw_queries
from vltp_ros.simulation.scene import ObjectInstance, Scene, placement
from vltp_ros.simulation.shapes import BUILDERS, shape
from vltp_ros.simulation.textures import OBJECT_TEXTURES, SURFACE_TEXTURES

MIN_PIXELS = 250  # an object must show at least this much,
MIN_VISIBLE = 0.3  # and at least this share of what it would show by itself
SHADOW_SIZE = 1024  # pixels along each side of the shadow map
SHADOW_REACH = 0.9  # metres from the middle of the table within which shadows fall
FLOOR_DEPTH, WALL_DISTANCE = 0.75, 1.8  # metres below and behind the table top's middle
TABLE_THICKNESS = 0.04
MAX_GEOMS = 128  # in a scene


@dataclass(frozen=True)
class Rendered:
    """A labelled image."""

    image: np.ndarray
    """uint8 [H, W, 3], RGB."""
    labels: np.ndarray
    """uint8 [H, W]: 0 for no object, i where objects[i - 1] is seen."""
    objects: tuple[ObjectInstance, ...]
    """The objects in the image, all of them visible."""
    queries: tuple[Query, ...]
    """What is asked; the first one alone is a good sample."""
    scene: Scene
    """The scene as it was asked for: it may hold objects that were hidden and taken out."""


class SceneRenderer(Renderer):
    """Draws scenes; a context manager that frees its OpenGL context at the end.

    A renderer is used in the thread that opened it: an OpenGL context belongs to one thread at a
    time.
    """

    def __init__(self, width: int = WIDTH, height: int = HEIGHT) -> None:
        """Compile the model and open an OpenGL context.

        Args:
            width: of the image in pixels, at most 640.
            height: of the image in pixels, three quarters of the width.

        Raises:
            ValueError: for another size.
        """
        if width * HEIGHT != height * WIDTH or not 0 < width <= WIDTH:
            raise ValueError(f"image size {width}x{height} is not 4:3 within {WIDTH}x{HEIGHT}")
        self._shown: tuple[Scene, tuple[ObjectInstance, ...]] | None = None
        self._size = width, height
        shapes: dict[tuple[str, ...], tuple[Part, ...]] = {
            (kind, variant): shape(kind, variant).parts
            for kind, variants in BUILDERS.items()
            for variant in variants
        }
        textures = {
            f"{name} {use}": Texture(
                np.repeat((255 * paint()[..., None]).clip(0, 255).astype(np.uint8), 3, axis=2)
            )
            for use, paints in (("object", OBJECT_TEXTURES), ("surface", SURFACE_TEXTURES))
            for name, paint in paints.items()
        }
        self._drawing = Drawing(
            WIDTH, HEIGHT, shapes, textures, MAX_GEOMS, (SHADOW_SIZE, SHADOW_REACH)
        )

    def render(self, scene: Scene) -> Rendered:
        """Draw the still image of a scene, with its labels and queries.

        Objects of which too little is seen are taken out, so that every label is recognisable.
        """
        objects, labels = self._recognisable(scene)
        image = self._colour(scene, objects, scene.camera)
        queries = draw_queries(scene, [item.kind for item in objects])
        return Rendered(image, labels, objects, queries, scene)

    def depth(self, scene: Scene, seconds: float = 0.0) -> np.ndarray:
        """Draw how far things are after some seconds, metres along the line of sight.

        Returns:
            float32 [H, W] of the image of :meth:`render` and :meth:`view`.
        """
        self._lay_out(scene, self._objects(scene))
        return self._drawing.depth(scene.camera.orbit(seconds), *self._size)

    def view(self, scene: Scene, seconds: float) -> np.ndarray:
        """Draw a scene, uint8 [H, W, 3], as a slowly circling camera sees it after some seconds.

        At 0 it is the still image. While the scene stays the same, only the colour image is drawn,
        which is cheap.
        """
        return self._colour(scene, self._objects(scene), scene.camera.orbit(seconds))

    def _objects(self, scene: Scene) -> tuple[ObjectInstance, ...]:
        """Return the objects that show enough, without looking again while the scene stays."""
        if self._shown is None or self._shown[0] != scene:
            self._shown = scene, self._recognisable(scene)[0]
        return self._shown[1]

    def _recognisable(self, scene: Scene) -> tuple[tuple[ObjectInstance, ...], np.ndarray]:
        """Return the objects that show enough and, without the others, their labels [H, W]."""
        alone = {item: np.count_nonzero(self._labels(scene, (item,))) for item in scene.objects}
        objects = scene.objects
        while True:
            labels = self._labels(scene, objects)
            areas = np.bincount(labels.ravel(), minlength=len(objects) + 1)[1:]
            scale = labels.size / (WIDTH * HEIGHT)
            kept = tuple(
                item
                for item, area in zip(objects, areas, strict=True)
                if area >= max(MIN_PIXELS * scale, MIN_VISIBLE * alone[item])
            )
            if kept == objects:
                return objects, labels
            objects = kept

    def _colour(
        self, scene: Scene, objects: tuple[ObjectInstance, ...], camera: Camera
    ) -> np.ndarray:
        self._lay_out(scene, objects)
        self._drawing.light(scene.ambient, scene.lights)
        return self._drawing.image(camera, *self._size)

    def _labels(self, scene: Scene, objects: tuple[ObjectInstance, ...]) -> np.ndarray:
        """Return uint8 [H, W]: 1 + the index of the object seen at each pixel, 0 for none."""
        self._lay_out(scene, objects)
        return self._drawing.labels(scene.camera, *self._size)

    def _lay_out(self, scene: Scene, objects: tuple[ObjectInstance, ...]) -> None:
        """List everything to be drawn; objects carry their label, the surroundings none."""
        self._drawing.clear()
        self._add_surroundings(scene)
        for label, item in enumerate(objects, 1):
            linear, shift = placement(item)
            paints = [
                _paint(*FINISHES.get(part.finish, (item.rgb, item.material)))
                for part in shape(item.kind, item.shape).parts
            ]
            self._drawing.add_shape((item.kind, item.shape), linear, shift, paints, label)

    def _add_surroundings(self, scene: Scene) -> None:
        add, table = self._drawing.add_box, scene.table
        x, y = table.half_size
        turned = rotation("z", table.yaw)
        add((x, y, TABLE_THICKNESS / 2), (0, 0, -TABLE_THICKNESS / 2), turned,
            _cover(table.surface))  # fmt: skip
        add((5, 5, 0.01), (0, 0, -FLOOR_DEPTH), np.eye(3), _cover(scene.floor))
        facing = rotation("z", scene.camera.azimuth)
        wall = facing @ (0, WALL_DISTANCE, 0)
        add((6, 4, 0.01), wall, facing @ rotation("x", np.pi / 2), _cover(scene.wall))


def _paint(rgb: Vector, finish: str) -> Paint:
    """Return a colour in a material."""
    material = MATERIALS[finish]
    texture = material.texture and f"{material.texture} object"
    return Paint(rgb, material.specular, material.shininess, material.emission, texture)


def _cover(surface: Surface) -> Paint:
    texture = surface.texture and f"{surface.texture} surface"
    return Paint(surface.rgb, specular=0.1, shininess=0.2, texture=texture)

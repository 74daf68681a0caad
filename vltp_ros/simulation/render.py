"""Images and exact masks of scenes, drawn by MuJoCo.

One model holds the meshes of all shapes and all textures. It is compiled once per renderer; a
scene only lists what of it to draw, and where.
"""

import os
from dataclasses import dataclass

import numpy as np

os.environ.setdefault("MUJOCO_GL", "egl")  # offscreen, on a GPU or on Mesa's software renderer
import mujoco
from numpy.typing import ArrayLike

from vltp_ros.simulation.appearance import FINISHES, MATERIALS
from vltp_ros.simulation.meshes import corner_normals, rotation, texture_coordinates
from vltp_ros.simulation.parts import Part
from vltp_ros.simulation.queries import Query, draw_queries
from vltp_ros.simulation.scene import (
    HEIGHT,
    WIDTH,
    Camera,
    Light,
    ObjectInstance,
    Scene,
    Surface,
    Vector,
    placement,
)
from vltp_ros.simulation.shapes import BUILDERS, shape
from vltp_ros.simulation.textures import OBJECT_TEXTURES, SIZE, SURFACE_TEXTURES

MIN_PIXELS = 250  # an object must show at least this much,
MIN_VISIBLE = 0.3  # and at least this share of what it would show by itself
NEAR, FAR = 0.1, 12.0  # clipping planes, metres from the camera
SHADOW_SIZE = 1024  # pixels along each side of the shadow map
SHADOW_REACH = 0.9  # metres from the middle of the table within which shadows fall
FLOOR_DEPTH, WALL_DISTANCE = 0.75, 1.8  # metres below and behind the table top's middle
TEXTURE_REPEATS = (4, 4)  # of a texture, for each metre of table, floor and wall
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


class SceneRenderer:
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
        self._meshes: dict[tuple[str, str], list[int]] = {}
        self._materials: dict[str, int] = {}
        self._model = self._compile()
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._gl = mujoco.GLContext(width, height)
        self._gl.make_current()
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._drawing = mujoco.MjvScene(self._model, maxgeom=MAX_GEOMS)
        for flag in (mujoco.mjtRndFlag.mjRND_SKYBOX, mujoco.mjtRndFlag.mjRND_REFLECTION,
                     mujoco.mjtRndFlag.mjRND_HAZE):  # fmt: skip
            self._drawing.flags[flag] = 0

    def __enter__(self) -> "SceneRenderer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the OpenGL context; the renderer is of no use afterwards."""
        self._context.free()
        self._gl.free()

    def render(self, scene: Scene) -> Rendered:
        """Draw the still image of a scene, with its labels and queries.

        Objects of which too little is seen are taken out, so that every label is recognisable.
        """
        objects, labels = self._recognisable(scene)
        image = self._colour(scene, objects, scene.camera)
        queries = draw_queries(scene, [item.kind for item in objects])
        return Rendered(image, labels, objects, queries, scene)

    def view(self, scene: Scene, seconds: float) -> np.ndarray:
        """Draw a scene, uint8 [H, W, 3], as a slowly circling camera sees it after some seconds.

        At 0 it is the still image. While the scene stays the same, only the colour image is drawn,
        which is cheap.
        """
        if self._shown is None or self._shown[0] != scene:
            self._shown = scene, self._recognisable(scene)[0]
        return self._colour(scene, self._shown[1], scene.camera.orbit(seconds))

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
        self._light(scene)
        return self._draw(camera, segment=False)

    def _labels(self, scene: Scene, objects: tuple[ObjectInstance, ...]) -> np.ndarray:
        """Return uint8 [H, W]: 1 + the index of the object seen at each pixel, 0 for none."""
        self._lay_out(scene, objects)
        return self._draw(scene.camera, segment=True)[..., 0].copy()

    def _draw(self, camera: Camera, segment: bool) -> np.ndarray:
        """Draw what was laid out: RGB or, to segment, the label in the first channel."""
        self._aim(camera)
        self._drawing.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = segment
        self._drawing.flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = segment
        pixels = np.empty((self._viewport.height, self._viewport.width, 3), np.uint8)
        self._gl.make_current()
        mujoco.mjr_render(self._viewport, self._drawing, self._context)
        mujoco.mjr_readPixels(pixels, None, self._viewport, self._context)
        return np.ascontiguousarray(pixels[::-1])

    def _aim(self, camera: Camera) -> None:
        _, up, forward = camera.axes()
        half = NEAR * np.tan(camera.fovy / 2)
        for eye in self._drawing.camera:
            eye.pos, eye.up, eye.forward = camera.position(), up, forward
            eye.frustum_near, eye.frustum_far = NEAR, FAR
            eye.frustum_bottom, eye.frustum_top = -half, half
            eye.frustum_center, eye.frustum_width = 0.0, half * WIDTH / HEIGHT

    def _light(self, scene: Scene) -> None:
        """Set up the scene's lamps, and before them one that shines everywhere, on shadows too."""
        dark = (0.0, 0.0, 0.0)
        everywhere = Light((0.0, 0.0, 1.0), dark, shadow=False)
        self._drawing.nlight = 1 + len(scene.lights)
        for index, lamp in enumerate((everywhere, *scene.lights)):
            light = self._drawing.lights[index]
            position = np.asarray(lamp.position)
            light.type = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
            light.pos, light.dir = position, -position / np.linalg.norm(position)
            light.attenuation = (1, 0, 0)
            light.ambient = scene.ambient if index == 0 else dark
            light.diffuse, light.specular = lamp.rgb, 0.5 * np.asarray(lamp.rgb)
            light.castshadow, light.headlight, light.texid = lamp.shadow, 0, -1

    def _lay_out(self, scene: Scene, objects: tuple[ObjectInstance, ...]) -> None:
        """List everything to be drawn; objects carry their label, the surroundings 0."""
        self._drawing.ngeom = 0
        self._add_surroundings(scene)
        for label, item in enumerate(objects, 1):
            self._add_object(item, label)

    def _add_surroundings(self, scene: Scene) -> None:
        table = scene.table
        x, y = table.half_size
        turned = rotation("z", table.yaw)
        self._add_box((x, y, TABLE_THICKNESS / 2), (0, 0, -TABLE_THICKNESS / 2), turned,
                      table.surface)  # fmt: skip
        self._add_box((5, 5, 0.01), (0, 0, -FLOOR_DEPTH), np.eye(3), scene.floor)
        facing = rotation("z", scene.camera.azimuth)
        wall = facing @ (0, WALL_DISTANCE, 0)
        self._add_box((6, 4, 0.01), wall, facing @ rotation("x", np.pi / 2), scene.wall)

    def _add_box(
        self, half_size: ArrayLike, centre: ArrayLike, axes: np.ndarray, surface: Surface
    ) -> None:
        geom = self._add_geom(mujoco.mjtGeom.mjGEOM_BOX, half_size, centre, axes, surface.rgb, 0)
        geom.matid = self._materials[f"{surface.texture} surface"] if surface.texture else -1
        geom.specular, geom.shininess = 0.1, 0.2

    def _add_object(self, item: ObjectInstance, label: int) -> None:
        linear, shift = placement(item)
        parts, meshes = shape(item.kind, item.shape).parts, self._meshes[item.kind, item.shape]
        for part, mesh in zip(parts, meshes, strict=True):
            rgb, finish = FINISHES.get(part.finish, (item.rgb, item.material))
            material = MATERIALS[finish]
            # The compiler moves every mesh into its own inertial frame: undo that.
            inertial = np.empty(9)
            mujoco.mju_quat2Mat(inertial, self._model.mesh_quat[mesh])
            centre = linear @ self._model.mesh_pos[mesh] + shift
            axes = linear @ inertial.reshape(3, 3)
            geom = self._add_geom(mujoco.mjtGeom.mjGEOM_MESH, (1, 1, 1), centre, axes, rgb, label)
            geom.dataid = 2 * mesh
            geom.matid = self._materials.get(f"{material.texture} object", -1)
            geom.texcoord = 1
            geom.specular, geom.shininess = material.specular, material.shininess
            geom.emission = material.emission

    def _add_geom(
        self,
        kind: mujoco.mjtGeom,
        size: ArrayLike,
        position: ArrayLike,
        axes: np.ndarray,
        rgb: Vector,
        label: int,
    ) -> mujoco.MjvGeom:
        geom = self._drawing.geoms[self._drawing.ngeom]
        rgba = np.array([*rgb, 1], np.float32)
        mujoco.mjv_initGeom(geom, kind, np.asarray(size, float), np.asarray(position, float),
                            axes.ravel(), rgba)  # fmt: skip
        geom.segid = label - 1  # drawn as label; nothing at all is 0 as well
        self._drawing.ngeom += 1
        return geom

    def _compile(self) -> mujoco.MjModel:
        spec = mujoco.MjSpec()
        spec.visual.global_.offwidth, spec.visual.global_.offheight = WIDTH, HEIGHT
        spec.visual.quality.offsamples = 0  # smooth edges would triple the time of an image
        spec.visual.quality.shadowsize = SHADOW_SIZE
        spec.visual.map.shadowclip = SHADOW_REACH
        spec.stat.extent = 1.0
        spec.stat.center = (0, 0, 0)
        for use, textures in (("object", OBJECT_TEXTURES), ("surface", SURFACE_TEXTURES)):
            for name, paint in textures.items():
                self._materials[f"{name} {use}"] = len(self._materials)
                _add_texture(spec, f"{name} {use}", paint())
        count = 0
        for kind, variants in BUILDERS.items():
            for variant in variants:
                parts = shape(kind, variant).parts
                self._meshes[kind, variant] = list(range(count, count + len(parts)))
                count += len(parts)
                for index, part in enumerate(parts):
                    _add_mesh(spec, f"{kind} {variant} {index}", part)
        return spec.compile()


def _add_texture(spec: mujoco.MjSpec, name: str, grey: np.ndarray) -> None:
    pixels = np.repeat((255 * grey[..., None]).clip(0, 255).astype(np.uint8), 3, axis=2)
    texture = spec.add_texture(
        name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=SIZE, height=SIZE, nchannel=3
    )
    texture.data = pixels.tobytes()
    material = spec.add_material(name=name, texuniform=True, texrepeat=TEXTURE_REPEATS)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


def _add_mesh(spec: mujoco.MjSpec, name: str, part: Part) -> None:
    corners = np.arange(3 * len(part.surface), dtype=np.int32)
    spec.add_mesh(
        name=name,
        uservert=part.surface.ravel(),
        usernormal=corner_normals(part.surface).ravel(),
        usertexcoord=texture_coordinates(part.surface).ravel(),
        userface=corners,
        userfacenormal=corners,
        userfacetexcoord=corners,
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )

"""What MuJoCo draws of scenes: meshes and boxes, lamps, and labels instead of colours.

One model holds all meshes and textures. It is compiled once; an image only lists what of it to
draw, and where.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from vltp_ros.paths import pip_command
from vltp_ros.simulation.camera import Camera, Light, Vector
from vltp_ros.simulation.meshes import (
    corner_normals,
    spread_coordinates,
    texture_coordinates,
    wrapped_coordinates,
)
from vltp_ros.simulation.parts import Part

os.environ.setdefault("MUJOCO_GL", "egl")  # offscreen, on a GPU or on Mesa's software renderer
try:
    import mujoco
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"scenes cannot be rendered ({error}): {pip_command('simulation')}"
    ) from error

NEAR, FAR = 0.1, 12.0  # clipping planes, metres from the camera
MAPPINGS = {"wrapped label": wrapped_coordinates, "flat label": spread_coordinates}
"""How a texture lies on the parts of some finishes; on others it is tiled."""
TEXTURE_REPEATS = 4  # of a texture, for each metre of table, floor and wall


@dataclass(frozen=True)
class Texture:
    """What a colour is multiplied with."""

    pixels: np.ndarray
    """uint8 [S, S, 3], tiling without a seam."""
    repeats: float = TEXTURE_REPEATS
    """For each metre of a box, for each TEXTURE_TILE of a shape, or on a label."""


@dataclass(frozen=True)
class Paint:
    """What a surface looks like; every number lies between 0 and 1."""

    rgb: Vector
    specular: float
    shininess: float
    emission: float = 0.0
    texture: str | None = None
    """Name of the texture that the colour is multiplied with."""
    alpha: float = 1.0
    """How much of what lies behind is hidden."""


class Drawing:
    """An OpenGL context with meshes and textures.

    It is used in the thread that opened it: a context belongs to one thread at a time.
    """

    def __init__(
        self,
        width: int,
        height: int,
        shapes: Mapping[tuple[str, ...], Sequence[Part]],
        textures: Mapping[str, Texture],
        most: int,
        shadow: tuple[int, float],
    ) -> None:
        """Compile the model and open the context.

        Args:
            width: of the largest image, pixels.
            height: of the largest image, pixels.
            shapes: what can be drawn, by any name.
            textures: what paints are made with, by name.
            most: boxes and parts of shapes in one image.
            shadow: pixels along each side of the shadow map, and the metres from the origin
                within which shadows fall.
        """
        self._meshes: dict[tuple[str, ...], list[int]] = {}
        self._materials = {name: index for index, name in enumerate(textures)}
        self._model = self._compile(width, height, shapes, textures, shadow)
        self._frames = [_frame(self._model, mesh) for mesh in range(self._model.nmesh)]
        self._gl = mujoco.GLContext(width, height)
        self._gl.make_current()
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(self._model, maxgeom=most)
        for flag in (mujoco.mjtRndFlag.mjRND_SKYBOX, mujoco.mjtRndFlag.mjRND_REFLECTION,
                     mujoco.mjtRndFlag.mjRND_HAZE):  # fmt: skip
            self._scene.flags[flag] = 0

    def close(self) -> None:
        """Free the OpenGL context; the drawing is of no use afterwards."""
        self._context.free()
        self._gl.free()

    def clear(self) -> None:
        """Forget all boxes and shapes."""
        self._scene.ngeom = 0

    def add_box(
        self, half_size: ArrayLike, centre: ArrayLike, axes: np.ndarray, paint: Paint
    ) -> None:
        """Add a box, which has no label; axes: its own as columns [3, 3]."""
        self._add(mujoco.mjtGeom.mjGEOM_BOX, half_size, centre, axes, paint, 0)

    def add_shape(
        self,
        name: tuple[str, ...],
        linear: np.ndarray,
        shift: np.ndarray,
        paints: Sequence[Paint],
        label: int,
    ) -> None:
        """Add a shape.

        Args:
            name: of one of the shapes.
            linear: with ``shift``, takes the shape's points to the world, [3, 3].
            shift: [3].
            paints: one for each of its parts.
            label: 1 to 255, what its pixels are in :meth:`labels`; 0 for none.
        """
        for mesh, paint in zip(self._meshes[name], paints, strict=True):
            axes, centre = self._frames[mesh]
            geom = self._add(mujoco.mjtGeom.mjGEOM_MESH, (1, 1, 1), linear @ centre + shift,
                             linear @ axes, paint, label)  # fmt: skip
            geom.dataid = 2 * mesh
            geom.texcoord = 1

    def light(self, ambient: Vector, lamps: Sequence[Light]) -> None:
        """Set up lamps, and before them one that shines everywhere, on shadows too."""
        dark = (0.0, 0.0, 0.0)
        everywhere = Light((0.0, 0.0, 1.0), dark, shadow=False)
        self._scene.nlight = 1 + len(lamps)
        for index, lamp in enumerate((everywhere, *lamps)):
            light = self._scene.lights[index]
            position = np.asarray(lamp.position)
            light.type = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
            light.pos, light.dir = position, -position / np.linalg.norm(position)
            light.attenuation = (1, 0, 0)
            light.ambient = ambient if index == 0 else dark
            light.diffuse, light.specular = lamp.rgb, 0.5 * np.asarray(lamp.rgb)
            light.castshadow, light.headlight, light.texid = lamp.shadow, 0, -1

    def image(self, camera: Camera, width: int, height: int) -> np.ndarray:
        """Draw what was added as the camera sees it: RGB, uint8 [height, width, 3]."""
        return self._draw(camera, width, height, segment=False)

    def labels(self, camera: Camera, width: int, height: int) -> np.ndarray:
        """Draw the label seen at each pixel, uint8 [height, width]."""
        return self._draw(camera, width, height, segment=True)[..., 0].copy()

    def depth(self, camera: Camera, width: int, height: int) -> np.ndarray:
        """Draw how far along the line of sight things are, metres, float32 [height, width]."""
        viewport = self._render(camera, width, height, segment=False)
        window = np.empty((height, width), np.float32)
        mujoco.mjr_readPixels(None, window, viewport, self._context)
        return NEAR * FAR / (FAR - window[::-1] * (FAR - NEAR))

    def _draw(self, camera: Camera, width: int, height: int, segment: bool) -> np.ndarray:
        viewport = self._render(camera, width, height, segment)
        pixels = np.empty((height, width, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, viewport, self._context)
        return np.ascontiguousarray(pixels[::-1])

    def _render(self, camera: Camera, width: int, height: int, segment: bool) -> mujoco.MjrRect:
        """Draw upside down, and return where."""
        self._aim(camera)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = segment
        self._scene.flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = segment
        viewport = mujoco.MjrRect(0, 0, width, height)
        self._gl.make_current()
        mujoco.mjr_render(viewport, self._scene, self._context)
        return viewport

    def _aim(self, camera: Camera) -> None:
        _, up, forward = camera.axes()
        half = NEAR * np.tan(camera.fovy / 2)
        for eye in self._scene.camera:
            eye.pos, eye.up, eye.forward = camera.position(), up, forward
            eye.frustum_near, eye.frustum_far = NEAR, FAR
            eye.frustum_bottom, eye.frustum_top = -half, half
            eye.frustum_center, eye.frustum_width = 0.0, half * camera.width / camera.height

    def _add(
        self,
        kind: mujoco.mjtGeom,
        size: ArrayLike,
        position: ArrayLike,
        axes: np.ndarray,
        paint: Paint,
        label: int,
    ) -> mujoco.MjvGeom:
        geom = self._scene.geoms[self._scene.ngeom]
        rgba = np.array([*paint.rgb, paint.alpha], np.float32)
        mujoco.mjv_initGeom(geom, kind, np.asarray(size, float), np.asarray(position, float),
                            axes.ravel(), rgba)  # fmt: skip
        geom.segid = label - 1  # drawn as label; nothing at all is 0 as well
        geom.matid = self._materials[paint.texture] if paint.texture else -1
        geom.specular, geom.shininess = paint.specular, paint.shininess
        geom.emission = paint.emission
        geom.transparent = paint.alpha < 1
        self._scene.ngeom += 1
        return geom

    def _compile(
        self,
        width: int,
        height: int,
        shapes: Mapping[tuple[str, ...], Sequence[Part]],
        textures: Mapping[str, Texture],
        shadow: tuple[int, float],
    ) -> mujoco.MjModel:
        spec = mujoco.MjSpec()
        spec.visual.global_.offwidth, spec.visual.global_.offheight = width, height
        spec.visual.quality.offsamples = 0  # smooth edges would triple the time of an image
        spec.visual.quality.shadowsize, spec.visual.map.shadowclip = shadow
        spec.stat.extent = 1.0
        spec.stat.center = (0, 0, 0)
        for name, texture in textures.items():
            _add_texture(spec, name, texture)
        count = 0
        for shape, parts in shapes.items():
            self._meshes[shape] = list(range(count, count + len(parts)))
            count += len(parts)
            for index, part in enumerate(parts):
                _add_mesh(spec, f"{shape} {index}", part)
        return spec.compile()


class Renderer:
    """Owns a drawing; a context manager that frees its OpenGL context at the end."""

    _drawing: Drawing

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the OpenGL context; the renderer is of no use afterwards."""
        self._drawing.close()


def _frame(model: mujoco.MjModel, mesh: int) -> tuple[np.ndarray, np.ndarray]:
    """Return axes [3, 3] and origin [3] of the inertial frame that the compiler moved a mesh to."""
    axes = np.empty(9)
    mujoco.mju_quat2Mat(axes, model.mesh_quat[mesh])
    return axes.reshape(3, 3), np.array(model.mesh_pos[mesh])


def _add_texture(spec: mujoco.MjSpec, name: str, texture: Texture) -> None:
    height, width, _ = texture.pixels.shape
    image = spec.add_texture(
        name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=width, height=height, nchannel=3
    )
    image.data = texture.pixels.tobytes()
    repeats = (texture.repeats, texture.repeats)
    material = spec.add_material(name=name, texuniform=True, texrepeat=repeats)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


def _add_mesh(spec: mujoco.MjSpec, name: str, part: Part) -> None:
    corners = np.arange(3 * len(part.surface), dtype=np.int32)
    spec.add_mesh(
        name=name,
        uservert=part.surface.ravel(),
        usernormal=corner_normals(part.surface).ravel(),
        usertexcoord=MAPPINGS.get(part.finish, texture_coordinates)(part.surface).ravel(),
        userface=corners,
        userfacenormal=corners,
        userfacetexcoord=corners,
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )

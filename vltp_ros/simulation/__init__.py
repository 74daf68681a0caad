"""Tabletop scenes with objects, the tasks they serve, and exact masks.

Drawing scenes is plain computation; MuJoCo is imported with SceneRenderer, when it is first used.
"""

from typing import TYPE_CHECKING

from vltp_ros.paths import pip_command
from vltp_ros.simulation.dataset import generate_dataset
from vltp_ros.simulation.editions import EDITIONS, EditionNumber, edition_of
from vltp_ros.simulation.queries import Query
from vltp_ros.simulation.sampling import sample_scene
from vltp_ros.simulation.scene import ObjectInstance, Scene
from vltp_ros.simulation.shapes import KINDS
from vltp_ros.simulation.splits import SPLITS, Split
from vltp_ros.simulation.tasks import TASKS, Task

if TYPE_CHECKING:
    from vltp_ros.simulation.render import Rendered, SceneRenderer

__all__ = [
    "EDITIONS", "KINDS", "SPLITS", "TASKS", "EditionNumber", "ObjectInstance", "Query", "Rendered",
    "Scene", "SceneRenderer", "Split", "Task", "edition_of", "generate_dataset", "sample_scene",
]  # fmt: skip


def __getattr__(name: str) -> type:
    if name in ("SceneRenderer", "Rendered"):
        try:
            from vltp_ros.simulation import render
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"scenes cannot be rendered ({error}): {pip_command('simulation')}"
            ) from error
        return getattr(render, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

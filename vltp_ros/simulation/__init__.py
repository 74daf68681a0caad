"""Tabletop scenes with objects, the tasks they serve, and exact masks.

What is named here is imported when it is first used: OpenCV with the scenes, MuJoCo, by which plain
computation becomes pictures, with SceneRenderer.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vltp_ros.simulation.dataset import generate_dataset
    from vltp_ros.simulation.editions import EDITIONS, edition_of
    from vltp_ros.simulation.queries import Query
    from vltp_ros.simulation.render import Rendered, SceneRenderer
    from vltp_ros.simulation.sampling import sample_scene
    from vltp_ros.simulation.scene import ObjectInstance, Scene
    from vltp_ros.simulation.shapes import KINDS
    from vltp_ros.simulation.splits import SPLITS, EditionNumber, Split
    from vltp_ros.simulation.tasks import TASKS, Task

__all__ = [
    "EDITIONS", "KINDS", "SPLITS", "TASKS", "EditionNumber", "ObjectInstance", "Query", "Rendered",
    "Scene", "SceneRenderer", "Split", "Task", "edition_of", "generate_dataset", "sample_scene",
]  # fmt: skip

MODULES = {
    "dataset": ("generate_dataset",),
    "editions": ("EDITIONS", "edition_of"),
    "queries": ("Query",),
    "render": ("Rendered", "SceneRenderer"),
    "sampling": ("sample_scene",),
    "scene": ("ObjectInstance", "Scene"),
    "shapes": ("KINDS",),
    "splits": ("SPLITS", "EditionNumber", "Split"),
    "tasks": ("TASKS", "Task"),
}
"""Module -> the names above that it has."""


def __getattr__(name: str) -> Any:
    module = next((module for module, names in MODULES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)

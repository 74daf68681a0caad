# SPDX-License-Identifier: Apache-2.0
"""Tabletop scenes with objects, the tasks they serve, and exact masks.

Drawing scenes is plain computation; MuJoCo is imported with SceneRenderer, when it is first used.
"""

from .dataset import generate_dataset
from .queries import Query
from .sampling import SPLITS, sample_scene
from .scene import ObjectInstance, Scene
from .shapes import KINDS
from .tasks import TASKS, Task

__all__ = [
    "KINDS", "SPLITS", "TASKS", "ObjectInstance", "Query", "Rendered", "Scene", "SceneRenderer",
    "Task", "generate_dataset", "sample_scene",
]  # fmt: skip


def __getattr__(name: str):
    if name in ("SceneRenderer", "Rendered"):
        from . import render

        return getattr(render, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

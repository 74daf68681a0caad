"""The editions of the tabletop scenes: what differs between them when they are written to disk."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from vltp_ros.simulation import sampling, shapes, tasks
from vltp_ros.simulation.crowded import records
from vltp_ros.simulation.crowded import sampling as crowded_sampling
from vltp_ros.simulation.splits import EditionNumber, Split


@dataclass(frozen=True)
class Edition:
    """How scenes are drawn, rendered and described."""

    version: int
    """Of the files: raised whenever a seed no longer gives the same scene."""
    quality: int
    """Of the JPEG images, 1 to 100."""
    sample_scene: Callable[[int, Split], Any]
    """Draws the scene of a seed and a split."""
    open_renderer: Callable[[], Any]
    """Opens a renderer, whose render(scene) has an image, labels and queries."""
    describe: Callable[[], dict]
    """Returns what a data set says of all its scenes: kinds and tasks."""
    record: Callable[[Any], dict]
    """Returns what a data set says of one rendered scene: objects and queries."""


def _open_first() -> Any:
    from vltp_ros.simulation import SceneRenderer

    return SceneRenderer()


def _describe_first() -> dict:
    served = [{"name": task.name, "kinds": sorted(task.kinds)} for task in tasks.TASKS]
    return {"kinds": list(shapes.KINDS), "tasks": served}


def _record_first(rendered: Any) -> dict:
    return {
        "objects": [
            {
                "label": label,
                "kind": item.kind,
                "shape": item.shape,
                "colour": item.colour,
                "material": item.material,
                "area": int((rendered.labels == label).sum()),
            }
            for label, item in enumerate(rendered.objects, 1)
        ],
        "queries": [
            {"task": query.task, "text": query.text, "objects": list(query.objects)}
            for query in rendered.queries
        ],
    }


def _open_second() -> Any:
    from vltp_ros.simulation.crowded.render import SceneRenderer

    return SceneRenderer()


EDITIONS: dict[int, Edition] = {
    1: Edition(1, 95, sampling.sample_scene, _open_first, _describe_first, _record_first),
    2: Edition(
        2, 92, crowded_sampling.sample_scene, _open_second, records.describe, records.record
    ),
}


def edition_of(number: int) -> Edition:
    """Return an edition; ValueError for a number that none has."""
    if number not in EDITIONS:
        allowed = ", ".join(map(str, get_args(EditionNumber)))
        raise ValueError(f"edition {number} is none of {allowed}")
    return EDITIONS[number]

"""What a data set says of crowded scenes."""

from typing import TYPE_CHECKING

from vltp_ros.simulation.crowded.forms import KINDS
from vltp_ros.simulation.crowded.tasks import TASKS

if TYPE_CHECKING:  # MuJoCo is imported when the first scene is rendered
    from vltp_ros.simulation.crowded.render import Rendered


def describe() -> dict:
    """Return the kinds and tasks that all scenes share."""
    tasks = [{"name": task.name, "family": task.family} for task in TASKS.values()]
    return {"kinds": list(KINDS), "tasks": tasks}


def record(rendered: "Rendered") -> dict:
    """Return objects, with null for the kind of distractors, and queries of a scene."""
    seen = rendered.seen
    return {
        "support": rendered.scene.support.kind,
        "objects": [
            {
                "label": index + 1,
                "kind": one.item.kind or None,
                "form": one.item.form,
                "state": one.state or None,
                "colour": one.item.colour,
                "material": one.item.material,
                "pattern": one.item.pattern,
                "area": one.pixels,
                "whole": one.whole,
                "centroid": [round(value, 1) for value in one.centroid],
                "box": list(one.box),
                "host": None if one.item.host is None else one.item.host + 1,
                "relation": one.item.relation,
            }
            for index, one in enumerate(seen)
        ],
        "queries": [
            {
                "task": query.task,
                "family": query.family,
                "text": query.text,
                "objects": list(query.objects),
            }
            for query in rendered.queries
        ],
    }

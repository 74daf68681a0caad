"""What is asked about a scene, and which objects answer it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vltp_ros.simulation.scene import Scene
from vltp_ros.simulation.splits import Split, generator
from vltp_ros.simulation.tasks import TASKS, Task

EMPTY_QUERIES = 3  # tasks asked for in each scene that nothing there serves


@dataclass(frozen=True)
class Query:
    """A question and its answer."""

    task: str
    """Name of the task asked for."""
    text: str
    """How it is put."""
    objects: tuple[int, ...]
    """Labels of all objects that serve it, as in Rendered.labels; empty if nothing does."""


def draw_queries(scene: Scene, kinds: Sequence[str]) -> tuple[Query, ...]:
    """Ask about a scene in which objects of these kinds, labelled from 1, are to be seen.

    Every task that some object serves is asked for, and EMPTY_QUERIES others. The first query is
    for the scene's own task, so that the first queries of many scenes are spread evenly over the
    tasks and are unanswerable as often as scenes are laid out to be.
    """
    rng = generator(scene.seed, scene.split, stream=1)
    queries = [_ask(rng, task, scene.split, kinds) for task in TASKS]
    shuffled = [queries[i] for i in rng.permutation(len(queries))]
    answered = [query for query in shuffled if query.objects]
    empty = [query for query in shuffled if not query.objects]
    # Where the object that should serve the scene's task is hidden, an answered task leads.
    leading = answered if scene.served and answered else empty
    first = next((query for query in leading if query.task == scene.task), leading[0])
    rest = [query for query in answered + empty[:EMPTY_QUERIES] if query is not first]
    return first, *(rest[i] for i in rng.permutation(len(rest)))


def _ask(rng: np.random.Generator, task: Task, split: Split, kinds: Sequence[str]) -> Query:
    """Put a task in one of its phrasings, and find the objects that serve it."""
    phrasings = task.heldout_phrasings if split == "uncommon" else task.phrasings
    text = phrasings[rng.integers(len(phrasings))]
    serving = tuple(label for label, kind in enumerate(kinds, 1) if kind in task.kinds)
    return Query(task.name, text, serving)

"""What is asked about a crowded scene, and which objects answer it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vltp_ros.simulation.crowded.answers import VisibleObject, best_rung
from vltp_ros.simulation.crowded.ladders import LADDERS
from vltp_ros.simulation.crowded.sampling import FIRST_STREAM
from vltp_ros.simulation.crowded.scene import Scene
from vltp_ros.simulation.crowded.tasks import TASKS, Task
from vltp_ros.simulation.splits import Split, generator

MOST = {"A": 4, "B": 2, "C": 4, "D": 4, "B+C": 1, "B+D": 2, "C+D": 2}
"""Most questions of a family in one scene that something serves."""
RUNG_SHARE = 0.3  # of the pixels of a ladder's rungs, that what serves has at most; but not where
# fewer than two rungs are lower
MOST_EMPTY = 1  # questions of a scene that nothing serves, besides its ladders
LEAST = 5  # questions: where they are fewer, other ladders are asked for, then more that is absent


@dataclass(frozen=True)
class Query:
    """A question and its answer."""

    task: str
    """Name of the task asked for."""
    family: str
    """One of tasks.FAMILIES: that of the task, or "E" where nothing serves."""
    text: str
    """How it is put."""
    objects: tuple[int, ...]
    """Labels, from 1, of all objects that serve it; empty if nothing does."""


def draw_queries(scene: Scene, seen: Sequence[VisibleObject]) -> tuple[Query, ...]:
    """Ask about what is seen of a scene, in random order.

    The scene's ladders are asked for, and a draw of the other tasks whose answer nobody doubts.
    """
    rng = generator(scene.seed, scene.split, FIRST_STREAM + 1)
    served: list[tuple[Task, tuple[int, ...]]] = []
    spare: list[tuple[Task, tuple[int, ...]]] = []
    unserved: list[Task] = []
    left = dict(MOST)
    for name in rng.permutation(list(TASKS)):
        task = TASKS[str(name)]
        if not left[task.family] or not _may_ask(scene.split, task, seen):
            continue
        answer = task.answer(seen)
        if task.name in LADDERS and task.name not in scene.ladders:
            spare += [(task, answer)] if answer else []
        elif answer == () and task.name not in LADDERS:
            unserved.append(task)
        elif answer is not None:
            left[task.family] -= 1
            served.append((task, answer))
    asked = [*served, *((task, ()) for task in unserved[:MOST_EMPTY])]
    asked += spare[: max(0, LEAST - len(asked))]
    asked += [(task, ()) for task in unserved[MOST_EMPTY:]][: max(0, LEAST - len(asked))]
    drawn = [asked[i] for i in rng.permutation(len(asked))]
    return tuple(_put(rng, task, answer, scene.split) for task, answer in drawn)


def _may_ask(split: Split, task: Task, seen: Sequence[VisibleObject]) -> bool:
    """Return whether a split asks for a task: not for what is held out from it.

    Lower rungs have to be well in view: whoever knows only the task would take them too.
    """
    common = split != "uncommon"
    if task.name not in LADDERS:
        return task.common or not common
    ladder = LADDERS[task.name]
    best = best_rung(seen, ladder)
    if common and best == ladder.heldout:
        return False
    lower = ladder.rungs[ladder.rungs.index(best) + 1 :] if best else ()
    rungs = [one for one in seen if one.item.kind in ladder.rungs]
    serving = sum(one.pixels for one in rungs if one.item.kind == best)
    return len(lower) < 2 or serving <= RUNG_SHARE * sum(one.pixels for one in rungs)


def _put(rng: np.random.Generator, task: Task, answer: tuple[int, ...], split: Split) -> Query:
    """Put a task in one of its phrasings."""
    text = task.frames.fill(rng, split, task.contents)
    family = task.family if answer else "E"
    return Query(task.name, family, text, tuple(index + 1 for index in answer))

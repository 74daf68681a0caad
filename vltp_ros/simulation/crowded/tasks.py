"""What is asked about scenes."""

from dataclasses import dataclass

from vltp_ros.simulation.crowded import phrasings
from vltp_ros.simulation.crowded.answers import (
    GROUPS,
    Answerer,
    of_colour,
    of_extreme,
    of_host,
    of_ladder,
    of_nearest,
    of_side,
    of_state,
)
from vltp_ros.simulation.crowded.appearance import NAMED, PALETTES, PARTLY
from vltp_ros.simulation.crowded.hosts import HOSTS
from vltp_ros.simulation.crowded.ladders import LADDERS
from vltp_ros.simulation.crowded.phrasings import GOAL, THING, Frames

FAMILIES = ("A", "B", "C", "D", "E", "B+C", "B+D", "C+D")
"""Ladders, states, attributes, relations, nothing serves; and combinations of these."""
NEIGHBOURS = (
    "hammer", "lamp", "bottle", "candle", "book", "ball", "scissors", "apple", "jug", "tape",
    "torch", "sponge", "plate", "stone",
)  # fmt: skip
"""Kinds of which the nearest neighbour is asked for."""
LANDMARKS = ("lamp", "bottle", "book", "basket", "candle", "ball")
"""Kinds beside which something is asked for."""
NAMED_GROUPS = ("crockery", "tool", "utensil", "provision")
"""Groups that are looked for by colour or beside a landmark."""
COMPARED_GROUPS = ("crockery", "tool")
"""Groups of which the largest and the smallest are asked for."""


@dataclass(frozen=True)
class Task:
    """Something that may be asked."""

    name: str
    family: str
    """One of FAMILIES but E."""
    frames: Frames
    contents: tuple[str, ...]
    """What fills the frames."""
    answer: Answerer
    common: bool = True
    """Whether splits other than uncommon ask it."""


def colours_of(group: str) -> list[str]:
    """Return the words for colours that at least three kinds of a group come in."""
    return [
        word
        for word, colours in NAMED.items()
        if sum(bool(colours & set(PALETTES[kind][0])) for kind in GROUPS[group].members - PARTLY)
        >= 3
    ]


def _tasks() -> list[Task]:
    """Make all tasks, from the tables of words."""
    tasks = [
        Task(ladder.name, "A", GOAL, ladder.goals, of_ladder(ladder)) for ladder in LADDERS.values()
    ]
    for state, contents in phrasings.STATES.items():
        tasks.append(Task(state, "B", THING, contents, of_state(state)))
    for group in COMPARED_GROUPS:
        tasks += _extremes(group)
    for group in NAMED_GROUPS:
        tasks += _colours(group)
    for state in ("empty", "full"):
        for extreme, patterns in phrasings.EXTREMES.items():
            contents = tuple(
                p.format(f"{state} {one}")
                for p in patterns
                for one, _ in phrasings.GROUPS["vessel"]
            )
            tasks.append(
                Task(
                    f"{extreme} {state}",
                    "B+C",
                    THING,
                    contents,
                    of_extreme(extreme, "vessel", state),
                )
            )
    for relation, patterns in (("inside", phrasings.INSIDE), ("on", phrasings.ON)):
        hosts = sorted({kind for (kind, _, _), room in HOSTS.items() if room.relation == relation})
        for kind in hosts:
            contents = tuple(pattern.format(kind) for pattern in patterns)
            tasks.append(Task(f"{relation} {kind}", "D", THING, contents, of_host(kind, relation)))
    for kind in NEIGHBOURS:
        contents = tuple(pattern.format(kind) for pattern in phrasings.NEAREST)
        tasks.append(Task(f"nearest {kind}", "D", THING, contents, of_nearest(kind)))
    for kind in LANDMARKS:
        for side in ("left", "right"):
            tasks += _sides(kind, side)
    return tasks


def _extremes(group: str) -> list[Task]:
    """Make the tasks of the largest and the smallest of a group."""
    tasks = []
    for extreme, patterns in phrasings.EXTREMES.items():
        contents = tuple(p.format(one) for p in patterns for one, _ in phrasings.GROUPS[group])
        tasks.append(Task(f"{extreme} {group}", "C", THING, contents, of_extreme(extreme, group)))
    return tasks


def _colours(group: str) -> list[Task]:
    """Make the tasks of what in a group has a colour, and of what lacks it."""
    tasks = []
    for colour in colours_of(group):
        for without, patterns in ((False, phrasings.COLOURED), (True, phrasings.UNCOLOURED)):
            contents = tuple(
                pattern.format(c=colour, one=one, many=many)
                for pattern in patterns
                for one, many in phrasings.GROUPS[group]
            )
            name = f"{'not ' if without else ''}{colour} {group}"
            tasks.append(Task(name, "C", THING, contents, of_colour(colour, group, without)))
    return tasks


def _sides(kind: str, side: str) -> list[Task]:
    """Make the tasks of what lies on one side of a kind."""
    tasks = []
    for group in (name for name in NAMED_GROUPS if kind not in GROUPS[name].members):
        words = phrasings.GROUPS[group]
        contents = _beside(side, kind, words)
        tasks.append(
            Task(f"{group} {side} of {kind}", "D", THING, contents, of_side(kind, side, group))
        )
        coloured = tuple((f"{{c}} {one}", f"{{c}} {many}") for one, many in words)
        for colour in colours_of(group):
            contents = tuple(text.format(c=colour) for text in _beside(side, kind, coloured))
            within = of_colour(colour, group, without=False)
            tasks.append(Task(f"{colour} {group} {side} of {kind}", "C+D", THING, contents,
                              of_side(kind, side, group, within), common=False))  # fmt: skip
    for state, group in (
        ("empty", "vessel"),
        ("full", "vessel"),
        ("lit", "light"),
        ("unlit", "light"),
    ):
        words = tuple(
            (f"{state} {one}", f"{state} {many}") for one, many in phrasings.GROUPS[group]
        )
        tasks.append(Task(f"{state} {side} of {kind}", "B+D", THING, _beside(side, kind, words),
                          of_side(kind, side, group, of_state(state)), common=False))  # fmt: skip
    return tasks


def _beside(side: str, kind: str, words: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    return tuple(
        pattern.format(one=one, many=many, ref=kind)
        for pattern in phrasings.SIDES[side]
        for one, many in words
    )


TASKS: dict[str, Task] = {task.name: task for task in _tasks()}
"""By name."""

"""Which objects answer: everything follows from the scene's description.

Each ``of_...`` returns what gives, for a description, the objects that serve, or None where people
might disagree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vltp_ros.simulation.crowded.appearance import DOUBTFUL, NAMED, PARTLY
from vltp_ros.simulation.crowded.forms import NO_KIND
from vltp_ros.simulation.crowded.hosts import HOSTS
from vltp_ros.simulation.crowded.ladders import Ladder
from vltp_ros.simulation.crowded.scene import Item, extent

LARGER = 1.12  # how much larger the largest is, in the image and in the world, than the next
NEARER = 1.22  # how much nearer the nearest is than the next
ASIDE = 24  # pixels between the centres of two things of which one is left of the other
SHARE = 0.55  # what is asked for makes up at most this share of the pixels of its group


@dataclass(frozen=True)
class VisibleObject:
    """An object in the image."""

    item: Item
    state: str
    """The object's own, or "holding" for an empty vessel that something lies in."""
    pixels: int
    """Visible ones."""
    whole: int
    """Those it would cover if nothing hid or cut it."""
    centroid: tuple[float, float]
    """Of its visible pixels: column, row."""
    box: tuple[int, int, int, int]
    """Of its visible pixels: left, top, right, bottom."""


Answer = tuple[int, ...] | None
"""Indices of the objects that serve; None: do not ask."""
Answerer = Callable[[Sequence[VisibleObject]], Answer]


@dataclass(frozen=True)
class Group:
    """Kinds that go by one name."""

    members: frozenset[str]
    doubtful: frozenset[str] = frozenset()
    """Kinds that some people would count in: nothing is asked that depends on them."""


GROUPS: dict[str, Group] = {
    "crockery": Group(frozenset({"mug", "bowl", "plate", "jug"}), frozenset({"glass", "tray"})),
    "tool": Group(
        frozenset({"hammer", "mallet", "wrench", "screwdriver"}),
        frozenset({"scissors", "tape", "torch"}),
    ),
    "utensil": Group(
        frozenset({"spoon", "fork", "knife", "spatula"}),
        frozenset({"rolling pin", "scissors", "brush"}),
    ),
    "provision": Group(frozenset({"bottle", "jar", "can"})),
    "vessel": Group(frozenset({"mug", "glass", "bowl", "jug", "pan"})),
    "closable": Group(frozenset({"box", "book", "jar", "can"})),
    "light": Group(frozenset({"lamp", "torch", "candle"})),
}
"""Groups by name."""
STATE_GROUPS = {
    "empty": "vessel", "full": "vessel", "open": "closable", "closed": "closable",
    "lit": "light", "unlit": "light",
}  # fmt: skip
"""What is looked through for a state."""


def members(seen: Sequence[VisibleObject], group: str) -> list[int]:
    """Return the indices of the objects that belong to a group."""
    return [i for i, one in enumerate(seen) if one.item.kind in GROUPS[group].members]


def doubtful(seen: Sequence[VisibleObject], group: str) -> list[int]:
    """Return the indices of the objects that may or may not belong to a group."""
    return [i for i, one in enumerate(seen) if one.item.kind in GROUPS[group].doubtful]


def is_minor(seen: Sequence[VisibleObject], answer: Sequence[int], of: Sequence[int]) -> bool:
    """Return whether an answer makes up at most SHARE of the pixels of what it is chosen from."""
    return sum(seen[i].pixels for i in answer) <= SHARE * sum(seen[i].pixels for i in of)


def best_rung(seen: Sequence[VisibleObject], ladder: Ladder) -> str | None:
    """Return the best kind in view for a ladder, or None."""
    kinds = {one.item.kind for one in seen}
    return next((kind for kind in ladder.rungs if kind in kinds), None)


def of_ladder(ladder: Ladder) -> Answerer:
    """Return what answers a ladder: all objects of the best kind in view."""

    def answer(seen: Sequence[VisibleObject]) -> Answer:
        best = best_rung(seen, ladder)
        return tuple(i for i, one in enumerate(seen) if one.item.kind == best)

    return answer


def of_state(state: str) -> Answerer:
    """Return what answers a state: everything of its group that is in it."""
    group = STATE_GROUPS[state]

    def answer(seen: Sequence[VisibleObject]) -> Answer:
        able = members(seen, group)
        if len(able) < 2 or any(_spoils(one, state) for one in seen):
            return None
        serving = tuple(i for i in able if seen[i].state == state)
        return serving if is_minor(seen, serving, able) else None

    return answer


def _spoils(one: VisibleObject, state: str) -> bool:
    """Return whether some people would count an object in, when they are asked for a state."""
    if state == "full":
        opened = one.item.kind in ("can", "jar") and one.state == "open"
        return opened or one.state == "holding"
    return state == "open" and one.item.kind == "scissors"


def of_extreme(extreme: str, group: str, state: str | None = None) -> Answerer:
    """Return what answers for the largest or smallest of a group, or of those in some state."""
    sign = 1 if extreme == "largest" else -1

    def answer(seen: Sequence[VisibleObject]) -> Answer:
        able = members(seen, group)
        states = [seen[i].state for i in able]
        if len(able) < 3 or (state and "holding" in states):
            return None
        chosen = [i for i, one in zip(able, states, strict=True) if state in (None, one)]
        if len(chosen) < 2:
            return None
        rivals = chosen if state else chosen + doubtful(seen, group)
        first = max(chosen, key=lambda i: sign * seen[i].whole)
        if not all(_exceeds(seen[first], seen[i], sign) for i in rivals if i != first):
            return None
        return (first,) if is_minor(seen, (first,), able) else None

    return answer


def _exceeds(one: VisibleObject, other: VisibleObject, sign: int) -> bool:
    """Return whether one object is clearly larger (sign 1) or smaller (-1), however one looks."""
    return all(
        (measure(one) / measure(other)) ** sign >= LARGER for measure in (_in_image, _in_world)
    )


def _in_image(one: VisibleObject) -> float:
    return float(np.sqrt(one.whole))


def _in_world(one: VisibleObject) -> float:
    return float(np.linalg.norm(extent(one.item)))


def of_colour(colour: str, group: str, without: bool) -> Answerer:
    """Return what answers for the members of a group that have a colour, or that lack it."""

    def answer(seen: Sequence[VisibleObject]) -> Answer:
        able = members(seen, group)
        if len(able) < 3 or any(_unclear(seen[i].item, colour) for i in able):
            return None
        for i in doubtful(seen, group):
            has = seen[i].item.colour in NAMED[colour]
            if has != without or _unclear(seen[i].item, colour):
                return None
        serving = tuple(i for i in able if (seen[i].item.colour in NAMED[colour]) != without)
        return serving if is_minor(seen, serving, able) else None

    return answer


def _unclear(item: Item, colour: str) -> bool:
    """Return whether people may disagree on whether an object has a colour."""
    partly = item.kind in PARTLY and item.colour in NAMED[colour]
    return partly or item.colour in DOUBTFUL[colour]


def only(seen: Sequence[VisibleObject], kind: str) -> int | None:
    """Return the index of the only object of a kind, or None if there is none or another."""
    indices = [i for i, one in enumerate(seen) if one.item.kind == kind]
    return indices[0] if len(indices) == 1 else None


def of_host(kind: str, relation: str) -> Answerer:
    """Return what answers for everything inside or on top of the only object of a kind."""

    def answer(seen: Sequence[VisibleObject]) -> Answer:
        host = only(seen, kind)
        if host is None:
            return None
        item = seen[host].item
        room = HOSTS.get((kind, item.form, item.state))
        if room is None or room.relation != relation:
            return None
        guests = tuple(i for i, one in enumerate(seen) if one.item.host == host)
        return None if any(seen[i].item.kind == NO_KIND for i in guests) else guests

    return answer


def of_nearest(kind: str) -> Answerer:
    """Return what answers for the object nearest to the only one of a kind."""

    def answer(seen: Sequence[VisibleObject]) -> Answer:
        centre = only(seen, kind)
        if centre is None or seen[centre].item.host is not None:
            return None
        others = [i for i, one in enumerate(seen) if i != centre and one.item.host is None]
        if len(others) < 2 or any(one.item.host == centre for one in seen):
            return None
        first = None
        for place in (_pixel, _foot):
            away = [np.linalg.norm(place(seen[i]) - place(seen[centre])) for i in others]
            order = np.argsort(away)
            nearest = others[order[0]]
            if away[order[1]] < NEARER * away[order[0]] or first not in (None, nearest):
                return None
            first = nearest
        return None if first is None or seen[first].item.kind == NO_KIND else (first,)

    return answer


def _pixel(one: VisibleObject) -> np.ndarray:
    return np.array(one.centroid)


def _foot(one: VisibleObject) -> np.ndarray:
    return np.array(one.item.position)


def beside(seen: Sequence[VisibleObject], kind: str, side: str, of: Sequence[int]) -> Answer:
    """Return which objects lie left or right of the only object of a kind, in the image."""
    centre = only(seen, kind)
    if centre is None:
        return None
    serving = []
    for i in of:
        away = seen[i].centroid[0] - seen[centre].centroid[0]
        if i != centre and abs(away) < ASIDE:
            return None
        if i != centre and (away < 0) == (side == "left"):
            serving.append(i)
    return tuple(serving)


def of_side(kind: str, side: str, group: str, within: Answerer | None = None) -> Answerer:
    """Return what answers for a group's members beside an object, or for some of them."""

    def answer(seen: Sequence[VisibleObject]) -> Answer:
        able = members(seen, group)
        chosen = within(seen) if within else tuple(able)
        if not chosen or len(able) < 2 or doubtful_beside(seen, kind, side, group):
            return None
        serving = beside(seen, kind, side, chosen)
        return serving if serving is not None and is_minor(seen, serving, able) else None

    return answer


def doubtful_beside(seen: Sequence[VisibleObject], kind: str, side: str, group: str) -> bool:
    """Return whether something on that side may or may not belong to the group."""
    some = beside(seen, kind, side, doubtful(seen, group))
    return some is None or len(some) > 0

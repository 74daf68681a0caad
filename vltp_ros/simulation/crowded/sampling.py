"""Drawing crowded scenes: everything follows from a split and a seed."""

from dataclasses import dataclass, replace

import numpy as np

from vltp_ros.simulation.appearance import COLOURS
from vltp_ros.simulation.camera import Vector
from vltp_ros.simulation.crowded.answers import GROUPS
from vltp_ros.simulation.crowded.appearance import (
    FILLINGS,
    NAMED,
    PALETTES,
    PATTERNED,
    Look,
    looks,
)
from vltp_ros.simulation.crowded.forms import ALL_FORMS, DISTRACTORS, KINDS, NO_KIND, shape
from vltp_ros.simulation.crowded.ladders import LADDERS, Ladder
from vltp_ros.simulation.crowded.layout import kinded, lay_out
from vltp_ros.simulation.crowded.patterns import LABELS, PATTERNS
from vltp_ros.simulation.crowded.scene import Item, Scene, outline
from vltp_ros.simulation.crowded.surroundings import (
    SUPPORTS,
    draw_ambient,
    draw_camera,
    draw_lights,
    draw_support,
)
from vltp_ros.simulation.crowded.tasks import NAMED_GROUPS, colours_of
from vltp_ros.simulation.splits import Split, generator, pick

SUPPORT_SHARES = (0.5, 0.25, 0.25)  # of tables, shelves and drawers
OBJECTS = (22, 28)  # with a kind, before those are taken out that show too little
LEAST = 18  # objects with a kind that are laid out, if need be smaller than they were drawn
SPARE = 8  # more of them, for those that find no room
DISTRACTED = (13, 20)  # distractors
LADDER_COUNT = 3  # ladders that a scene is laid out for, at most
STEP_CHANCES = (4, 5, 5, 5, 4, 3)  # of the rungs of a ladder to serve, best first, out of all
NOTHING_SHARE = 0.02  # of the ladders, that nothing serves
LURE_SHARE = 0.8  # of the rungs below the one that serves, that are there twice
HELDOUT_SHARE = 0.6  # of the uncommon split's ladders, that their held-out rung serves
SIZES = (0.8, 1.05), (0.5, 0.8)  # factors on the nominal size; the latter for distractors
USUAL_LENGTH, EVENED = 0.15, 0.5  # metres; 0: sizes as in life, 1: all objects as long as that
PATTERN_SHARE = 0.45
THEME_SHARE = 0.35  # of a group's members, that have the group's colour in the scene
GROUP_COLOURS = {group: colours_of(group) for group in NAMED_GROUPS}
FIRST_STREAM = 16  # of random numbers: those below are the first edition's


def sample_scene(seed: int, split: Split) -> Scene:
    """Draw the scene of a seed; the same arguments always give the same scene.

    Args:
        seed: 0 or more.
        split: one of SPLITS; "uncommon" draws looks and answers that no other split shows.

    Raises:
        ValueError: for an unknown split or a negative seed.
    """
    rng = generator(seed, split, FIRST_STREAM)
    kind = SUPPORTS[rng.choice(len(SUPPORTS), p=SUPPORT_SHARES)]
    camera = draw_camera(rng, kind)
    support = draw_support(rng, kind, camera)
    plan = draw_plan(rng, split)
    mood = _Mood.draw(rng, split)
    items = [mood.item(rng, kind) for kind in plan.kinds]
    items += [mood.item(rng, NO_KIND) for _ in range(rng.integers(*DISTRACTED))]
    objects = lay_out(rng, items, plan.needed, OBJECTS[1], support, camera)
    while kinded(objects) < LEAST:
        items = [replace(one, size=0.9 * one.size) for one in items]
        objects = lay_out(rng, items, plan.needed, OBJECTS[1], support, camera)
    return Scene(
        seed=seed,
        split=split,
        support=support,
        objects=tuple(objects),
        camera=camera,
        lights=draw_lights(rng),
        ambient=draw_ambient(rng),
        ladders=plan.ladders,
    )


@dataclass(frozen=True)
class Plan:
    """The kinds of a scene, drawn so that its ladders have every answer equally often."""

    ladders: tuple[str, ...]
    kinds: tuple[str, ...]
    needed: int
    """How many of them, the first ones, the ladders need."""


def draw_plan(rng: np.random.Generator, split: Split) -> Plan:
    """Draw ladders without common rungs and, for each, the rung that serves.

    Nothing better may be there; everything lower is, some of it twice, so that no answer that fits
    all scenes fits well.
    """
    ladders: list[Ladder] = []
    needed: list[str] = []
    lures: list[str] = []
    banned: set[str] = set()
    for name in rng.permutation(list(LADDERS)):
        ladder = LADDERS[str(name)]
        if len(ladders) == LADDER_COUNT or any(set(ladder.rungs) & set(o.rungs) for o in ladders):
            continue
        step = _draw_rung(rng, ladder, split)
        ladders.append(ladder)
        banned |= set(ladder.rungs[:step])
        needed += ladder.rungs[step:]
        lures += [kind for kind in ladder.rungs[step + 1 :] if rng.random() < LURE_SHARE]
    allowed = [kind for kind in KINDS if kind not in banned]
    count = int(rng.integers(OBJECTS[0], OBJECTS[1] + 1)) - len(needed) - len(lures) + SPARE
    others = [pick(rng, allowed) for _ in range(count)]
    names = tuple(ladder.name for ladder in ladders)
    return Plan(names, (*needed, *lures, *others), len(needed) + len(lures))


def _draw_rung(rng: np.random.Generator, ladder: Ladder, split: Split) -> int:
    """Draw which rung serves, or the number of rungs for none of them."""
    if rng.random() < NOTHING_SHARE:
        return len(ladder.rungs)
    aside = ladder.rungs.index(ladder.heldout)
    if split == "uncommon" and rng.random() < HELDOUT_SHARE:
        return aside
    chances = np.array(STEP_CHANCES)
    chances[aside] = 0
    return int(rng.choice(len(chances), p=chances / chances.sum()))


@dataclass(frozen=True)
class _Mood:
    """What the objects of a scene have in common: which states and colours prevail."""

    split: Split
    prevailing: dict[str, float]
    """Chance of a state, for kinds that have states."""
    themes: dict[str, str]
    """Colour that prevails in a group, by the group's name."""

    @classmethod
    def draw(cls, rng: np.random.Generator, split: Split) -> "_Mood":
        chances: dict[str, float] = {}
        for state, opposite in (("full", "empty"), ("open", "closed"), ("lit", "unlit")):
            chance = pick(rng, (0.3, 0.7))
            chances |= {state: chance, opposite: 1 - chance}
        themes = {group: pick(rng, words) for group, words in GROUP_COLOURS.items() if words}
        return cls(split, chances, themes)

    def item(self, rng: np.random.Generator, kind: str) -> Item:
        """Draw an object of a kind, which has no position yet."""
        look = self._look(rng, kind)
        states = list(ALL_FORMS[kind][look.form])
        state = states[0]
        if len(states) > 1:
            state = states[int(rng.random() >= self.prevailing[states[0]])]
        rgb = np.array(COLOURS[look.colour]) * rng.normal(1, 0.06) + rng.normal(0, 0.015, 3)
        filling = np.array(COLOURS[pick(rng, FILLINGS)]) * rng.normal(0.95, 0.05)
        bears = kind in PATTERNED or (kind == NO_KIND and look.material in ("cloth", "cardboard"))
        pattern = pick(rng, tuple(PATTERNS)) if bears and rng.random() < PATTERN_SHARE else None
        return Item(
            kind, look.form, state, look.colour, look.material, pattern,
            label=pick(rng, tuple(LABELS)),
            rgb=_vector(np.clip(rgb, 0.02, 1)),
            filling=_vector(np.clip(filling, 0.02, 1)),
            size=float(rng.uniform(*SIZES[kind == NO_KIND])) * _evened(kind, look.form, state),
            pose="side" if pick(rng, shape(kind, look.form, state).poses) == "side" else "upright",
            yaw=float(rng.uniform(-np.pi, np.pi)),
        )  # fmt: skip

    def _look(self, rng: np.random.Generator, kind: str) -> Look:
        if kind == NO_KIND:
            colours, materials = PALETTES[NO_KIND]
            return Look(
                *(pick(rng, choices) for choices in (tuple(DISTRACTORS), colours, materials))
            )
        able = looks(kind, self.split)
        if rng.random() < THEME_SHARE:
            themes = [word for name, word in self.themes.items() if kind in GROUPS[name].members]
            themed = [look for look in able for theme in themes if look.colour in NAMED[theme]]
            able = tuple(themed) or able
        return pick(rng, able)


def _evened(kind: str, form: str, state: str) -> float:
    """Return a factor that makes large objects smaller, and small ones larger."""
    _, low, high = outline(kind, form, state, "upright")
    length = float(np.linalg.norm(high - low))
    return (USUAL_LENGTH / length) ** EVENED


def _vector(values: np.ndarray) -> Vector:
    """Return an array [3] as plain numbers."""
    x, y, z = values.tolist()
    return x, y, z

"""The geometry of every kind: form, then state, then what builds it.

A kind without states has the one state "".
"""

from collections.abc import Callable
from functools import cache, partial

from vltp_ros.simulation import containers, household, kitchenware, tools
from vltp_ros.simulation.meshes import prism, revolve, slab, tube
from vltp_ros.simulation.parts import MAIN, Shape, build
from vltp_ros.simulation.shapes import BUILDERS

Builder = Callable[[], Shape]
NO_KIND = ""
"""The kind of distractors, which have none."""


def _plain(*forms: str, kind: str) -> dict[str, dict[str, Builder]]:
    """Return some forms of a kind of the first edition, which have no state."""
    return {form: {"": BUILDERS[kind][form]} for form in forms}


def _vessel(
    empty: Builder, low: tuple[float, float], high: tuple[float, float]
) -> dict[str, Builder]:
    """Return a vessel's states; see containers.filled."""
    return {"empty": empty, "full": lambda: containers.filled(empty(), low, high)}


def _closable(builder: Callable[[bool], Shape]) -> dict[str, Builder]:
    return {"closed": partial(builder, True), "open": partial(builder, False)}


def _light(builder: Callable[[bool], Shape]) -> dict[str, Builder]:
    return {"lit": partial(builder, True), "unlit": partial(builder, False)}


_mug = partial(partial, kitchenware.mug)
_glass = partial(partial, containers.glass)

# fmt: off
FORMS: dict[str, dict[str, dict[str, Builder]]] = {
    "mug": {
        "straight": _vessel(_mug(0.046, 0.046, 0.1), (0.043, 0.08), (0.044, 0.088)),
        "wide": _vessel(_mug(0.056, 0.060, 0.078), (0.057, 0.06), (0.058, 0.068)),
        "conical": _vessel(_mug(0.036, 0.052, 0.1), (0.046, 0.08), (0.047, 0.088)),
    },
    "glass": {
        "tumbler": _vessel(_glass(0.032, 0.041, 0.105), (0.0295, 0.009), (0.0365, 0.08)),
        "tall": _vessel(_glass(0.029, 0.034, 0.15), (0.0265, 0.009), (0.0305, 0.12)),
        "stemmed": _vessel(containers.stemmed_glass, (0.01, 0.087), (0.0315, 0.128)),
    },
    "jug": {
        "round": _vessel(partial(containers.jug, 0.062, 0.17), (0.038, 0.14), (0.0375, 0.148)),
        "tall": _vessel(partial(containers.jug, 0.052, 0.21), (0.032, 0.175), (0.031, 0.185)),
    },
    "bowl": {
        "round": _vessel(BUILDERS["bowl"]["round"], (0.073, 0.042), (0.077, 0.052)),
        "flared": _vessel(BUILDERS["bowl"]["flared"], (0.072, 0.033), (0.082, 0.043)),
    },
    "pan": {
        "frying": _vessel(BUILDERS["pan"]["frying"], (0.074, 0.012), (0.0785, 0.024)),
        "sauce": _vessel(BUILDERS["pan"]["sauce"], (0.0655, 0.052), (0.0655, 0.062)),
    },
    "bottle": _plain("wine", "flask", "squat", kind="bottle"),
    "jar": {
        "squat": _closable(partial(containers.jar, 0.046, 0.1)),
        "tall": _closable(partial(containers.jar, 0.038, 0.135)),
    },
    "can": {
        "tall": _closable(partial(containers.can, 0.037, 0.11)),
        "flat": _closable(partial(containers.can, 0.045, 0.062)),
    },
    "box": {
        "carton": {"closed": containers.closed_carton, "open": household.carton},
        "lidded": _closable(containers.lidded_box),
    },
    "book": {
        "thick": {"closed": BUILDERS["book"]["thick"], "open": household.open_book},
        "slim": {"closed": BUILDERS["book"]["slim"], "open": household.open_book},
    },
    "basket": {
        "round": {"": partial(containers.basket, 0.085, 0.08, 2.0)},
        "square": {"": partial(containers.basket, 0.078, 0.07, 5.0)},
    },
    "tray": {
        "oblong": {"": partial(containers.tray, 0.26, 0.18, 6.0)},
        "oval": {"": partial(containers.tray, 0.25, 0.17, 2.4)},
    },
    "plate": _plain("rimmed", "square", kind="plate"),
    "hammer": _plain("claw", "sledge", kind="hammer"),
    "mallet": {
        "wooden": {"": tools.wooden_mallet},
        "rubber": {"": BUILDERS["hammer"]["mallet"]},
    },
    "stone": {
        "round": {"": partial(tools.stone, 3, 1.0)},
        "flat": {"": partial(tools.stone, 8, 0.7)},
        "long": {"": partial(tools.stone, 12, 0.8)},
    },
    "wrench": {
        "double": {"": partial(tools.wrench, 0.03, False)},
        "ring": {"": partial(tools.wrench, 0.027, True)},
    },
    "screwdriver": _plain("long", "stubby", kind="screwdriver"),
    "knife": _plain("chef", "bread", kind="knife"),
    "scissors": _plain("long", "short", kind="scissors"),
    "fork": {
        "table": {"": partial(kitchenware.fork, 0.14, 0.026)},
        "large": {"": partial(kitchenware.fork, 0.17, 0.032)},
    },
    "spoon": _plain("oval", "round", kind="spoon"),
    "spatula": _plain("slotted", "solid", kind="spatula"),
    "rolling pin": {
        "long": {"": partial(kitchenware.rolling_pin, 0.17, 0.025)},
        "short": {"": partial(kitchenware.rolling_pin, 0.13, 0.03)},
    },
    "brush": _plain("dish", "broom", kind="brush"),
    "sponge": _plain("scourer", "oval", kind="sponge"),
    "towel": {
        "folded": {"": household.folded_towel},
        "rolled": {"": household.rolled_towel},
    },
    "tape": _plain("wide", "slim", kind="tape"),
    "candle": {
        "pillar": _light(household.pillar_candle),
        "taper": _light(household.taper_candle),
    },
    "lamp": {"table": _light(household.table_lamp), "desk": _light(household.desk_lamp)},
    "torch": {
        "long": _light(partial(tools.torch, 0.15, 0.026)),
        "short": _light(partial(tools.torch, 0.11, 0.03)),
    },
    "ball": _plain("banded", "beach", "seamed", kind="ball"),
    "apple": {
        "round": {"": partial(kitchenware.apple, 1.0)},
        "tall": {"": partial(kitchenware.apple, 1.2)},
    },
    "banana": {
        "curved": {"": partial(kitchenware.banana, 0.1)},
        "straight": {"": partial(kitchenware.banana, 0.16)},
    },
    "pencil": {
        "long": {"": partial(tools.pencil, 0.19, 0.006)},
        "stub": {"": partial(tools.pencil, 0.12, 0.008)},
    },
}
DISTRACTORS: dict[str, dict[str, Builder]] = {
    "block": {"": lambda: build((MAIN, slab((0.09, 0.06, 0.05), (0, 0, 0.025))))},
    "beam": {"": lambda: build((MAIN, slab((0.2, 0.035, 0.03), (0, 0, 0.015))))},
    "cylinder": {"": lambda: build((MAIN, revolve(
        [(0, 0), (0.03, 0), (0.03, 0.075), (0, 0.075)])))},
    "cone": {"": lambda: build((MAIN, revolve([(0, 0), (0.042, 0), (0.004, 0.1), (0, 0.1)])))},
    "wedge": {"": lambda: build((MAIN, prism(
        [(-0.06, -0.04), (0.06, -0.04), (-0.06, 0.05)], 0.035)))},
    "ring": {"": lambda: build((MAIN, tube(
        [(0.042, 0, 0.012), (0.021, 0.036, 0.012), (-0.021, 0.036, 0.012), (-0.042, 0, 0.012),
         (-0.021, -0.036, 0.012), (0.021, -0.036, 0.012)], 0.012, closed=True)))},
    "angle": {"": lambda: build((MAIN, prism(
        [(-0.06, -0.06), (0.06, -0.06), (0.06, -0.03), (-0.03, -0.03), (-0.03, 0.06),
         (-0.06, 0.06)], 0.03)))},
    "cross": {"": lambda: build((MAIN, prism(
        [(-0.02, -0.06), (0.02, -0.06), (0.02, -0.02), (0.06, -0.02), (0.06, 0.02), (0.02, 0.02),
         (0.02, 0.06), (-0.02, 0.06), (-0.02, 0.02), (-0.06, 0.02), (-0.06, -0.02),
         (-0.02, -0.02)], 0.03)))},
}
"""Things that no kind fits, of the same materials as the others."""
# fmt: on

KINDS: tuple[str, ...] = tuple(FORMS)
ALL_FORMS = {**FORMS, NO_KIND: DISTRACTORS}


@cache
def shape(kind: str, form: str, state: str) -> Shape:
    """Return the geometry of an object; KeyError for what FORMS lacks."""
    return ALL_FORMS[kind][form][state]()

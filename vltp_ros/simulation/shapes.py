"""The geometry of every kind of object, in a few variants each.

A shape is modelled at its nominal size in metres, the way it lies on the table; elongated things
lie along x.
"""

from collections.abc import Callable
from functools import cache

from vltp_ros.simulation import household, kitchenware, tools
from vltp_ros.simulation.meshes import rounded
from vltp_ros.simulation.parts import MAIN, Shape, build, dish

BUILDERS: dict[str, dict[str, Callable[[], Shape]]] = {
    "mug": {
        "straight": lambda: kitchenware.mug(0.046, 0.046, 0.1, (*["upright"] * 3, "side")),
        "conical": lambda: kitchenware.mug(0.036, 0.052, 0.1),
        "wide": lambda: kitchenware.mug(0.056, 0.060, 0.078),
    },
    "bottle": {
        "wine": lambda: kitchenware.bottle(0.036, 0.13, 0.013, 0.25, "foil"),
        "flask": lambda: kitchenware.bottle(0.043, 0.115, 0.024, 0.205, "black plastic"),
        "squat": lambda: kitchenware.bottle(0.054, 0.085, 0.017, 0.185, "white plastic"),
    },
    "bowl": {
        "round": lambda: build((MAIN, dish(0.085, 0.065, 0.035, 2.2))),
        "flared": lambda: build((MAIN, dish(0.095, 0.055, 0.038, 1.3))),
        "square": lambda: build((MAIN, dish(0.078, 0.055, 0.04, 2.0, squareness=6))),
    },
    "hammer": {
        "claw": tools.hammer_claw,
        "sledge": tools.hammer_sledge,
        "mallet": tools.hammer_mallet,
    },
    "knife": {
        "chef": lambda: kitchenware.knife(kitchenware.CHEF_BLADE),
        "bread": lambda: kitchenware.knife(kitchenware.BREAD_BLADE),
    },
    "spoon": {
        "oval": lambda: kitchenware.spoon(0.14, 0.03, 1.45),
        "round": lambda: kitchenware.spoon(0.165, 0.036, 1.05),
    },
    "spatula": {
        "slotted": lambda: kitchenware.turner(kitchenware.slotted_head()),
        "solid": lambda: kitchenware.turner(kitchenware.solid_head()),
    },
    "scissors": {
        "long": lambda: tools.scissors(26, 0.105),
        "short": lambda: tools.scissors(46, 0.078),
    },
    "book": {
        "thick": lambda: household.book(0.19, 0.135, 0.042),
        "slim": lambda: household.book(0.2, 0.15, 0.016),
        "open": household.open_book,
    },
    "box": {"lidded": household.lidded_box, "carton": household.carton},
    "ball": {
        "banded": household.banded_ball,
        "beach": household.beach_ball,
        "seamed": household.basketball,
    },
    "plate": {
        "rimmed": lambda: kitchenware.plate(0.105, 2),
        "square": lambda: kitchenware.plate(0.092, 6),
    },
    "pan": {
        "frying": lambda: kitchenware.pan(0.07, 0.085, 0.034, 0.13),
        "sauce": lambda: kitchenware.pan(0.066, 0.068, 0.075, 0.13),
    },
    "brush": {"dish": tools.dish_brush, "broom": tools.hand_broom},
    "tape": {
        "wide": lambda: tools.tape(0.055, 0.038, 0.046),
        "slim": lambda: tools.tape(0.058, 0.036, 0.024),
    },
    "sponge": {
        "scourer": lambda: tools.sponge(rounded(0.125, 0.08, 9), "green felt"),
        "oval": lambda: tools.sponge(rounded(0.135, 0.085, 2.6), "grey felt"),
    },
    "screwdriver": {
        "long": lambda: tools.screwdriver(0.1, 0.13, 0.0165),
        "stubby": lambda: tools.screwdriver(0.085, 0.07, 0.021),
    },
    "candle": {"pillar": household.pillar_candle, "taper": household.taper_candle},
}

KINDS: tuple[str, ...] = tuple(BUILDERS)


@cache
def shape(kind: str, variant: str) -> Shape:
    """Return the geometry of a variant; KeyError for a kind or variant that BUILDERS lacks."""
    return BUILDERS[kind][variant]()

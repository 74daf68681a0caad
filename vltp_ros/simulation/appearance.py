"""Colours, materials and which of them every kind comes in."""

from dataclasses import dataclass
from itertools import product

from vltp_ros.simulation.shapes import BUILDERS, KINDS

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.80, 0.10, 0.10), "orange": (0.92, 0.45, 0.08), "yellow": (0.93, 0.80, 0.15),
    "green": (0.15, 0.55, 0.20), "teal": (0.10, 0.55, 0.55), "blue": (0.12, 0.28, 0.78),
    "purple": (0.45, 0.20, 0.62), "pink": (0.92, 0.50, 0.65), "white": (0.92, 0.91, 0.88),
    "black": (0.10, 0.10, 0.11), "grey": (0.50, 0.51, 0.53), "cream": (0.90, 0.83, 0.66),
    "navy": (0.08, 0.12, 0.32), "lime": (0.58, 0.80, 0.20), "sky": (0.45, 0.70, 0.92),
    "steel": (0.66, 0.68, 0.71), "brass": (0.78, 0.62, 0.26), "copper": (0.75, 0.42, 0.26),
    "iron": (0.24, 0.24, 0.26), "oak": (0.72, 0.52, 0.31), "walnut": (0.38, 0.24, 0.14),
    "pine": (0.87, 0.70, 0.45), "cherry": (0.56, 0.25, 0.14), "manila": (0.76, 0.60, 0.40),
}  # fmt: skip
"""RGB, each 0 to 1."""


@dataclass(frozen=True)
class Material:
    """How a surface meets light; every value lies between 0 and 1."""

    specular: float
    shininess: float
    texture: str | None = None
    """A name from textures.OBJECT_TEXTURES, or None for a plain surface."""
    emission: float = 0.0


MATERIALS: dict[str, Material] = {
    "plastic": Material(0.35, 0.45),
    "metal": Material(0.9, 0.75, "brushed"),
    "wood": Material(0.12, 0.2, "grain"),
    "ceramic": Material(0.7, 0.8),
    "glass": Material(1.0, 0.95),
    "rubber": Material(0.06, 0.1),
    "paper": Material(0.03, 0.05),
    "cardboard": Material(0.03, 0.05, "fibre"),
    "cloth": Material(0.02, 0.05, "weave"),
    "foam": Material(0.02, 0.05, "pores"),
    "wax": Material(0.25, 0.3, emission=0.08),
    "fire": Material(0.0, 0.0, emission=1.0),
}

FINISHES: dict[str, tuple[tuple[float, float, float], str]] = {
    "steel": (COLOURS["steel"], "metal"),
    "iron": (COLOURS["iron"], "metal"),
    "brass": (COLOURS["brass"], "metal"),
    "foil": ((0.72, 0.58, 0.22), "metal"),
    "black plastic": ((0.07, 0.07, 0.08), "plastic"),
    "white plastic": (COLOURS["white"], "plastic"),
    "black rubber": ((0.06, 0.06, 0.06), "rubber"),
    "paper": ((0.93, 0.91, 0.84), "paper"),
    "ink": ((0.06, 0.06, 0.07), "paper"),
    "cardboard": ((0.62, 0.46, 0.29), "cardboard"),
    "navy glaze": (COLOURS["navy"], "ceramic"),
    "bristle": ((0.90, 0.84, 0.62), "cloth"),
    "green felt": ((0.07, 0.30, 0.12), "cloth"),
    "grey felt": ((0.22, 0.22, 0.25), "cloth"),
    "flame": ((1.0, 0.62, 0.10), "fire"),
}
"""What the parts of a shape are made of that do not take its own colour: RGB and material."""

BRIGHT = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "white", "black")
UTENSIL = ("steel", "oak", "walnut", "pine", "black", "red", "teal", "cream", "copper", "lime")
VESSEL = ("white", "cream", "sky", "teal", "navy", "red", "green", "yellow", "grey", "pink")
COOKWARE = ("black", "iron", "steel", "copper", "red", "navy", "green", "cream", "grey", "orange")
PACKAGE = ("manila", "pine", "oak", "white", "red", "blue", "green", "purple", "grey", "pink")
SOFT = ("yellow", "pink", "lime", "sky", "orange", "teal", "cream", "purple", "red", "blue")

PALETTES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "mug": (BRIGHT, ("ceramic", "metal", "plastic")),
    "bottle": (BRIGHT, ("glass", "plastic", "metal")),
    "bowl": (VESSEL, ("ceramic", "wood", "plastic")),
    "hammer": (UTENSIL, ("wood", "rubber", "plastic")),
    "knife": (BRIGHT, ("plastic", "wood")),
    "spoon": (UTENSIL, ("metal", "wood", "plastic")),
    "spatula": (UTENSIL, ("metal", "wood", "plastic")),
    "scissors": (BRIGHT, ("plastic", "rubber")),
    "book": (BRIGHT, ("paper", "cloth")),
    "box": (PACKAGE, ("cardboard", "wood", "plastic")),
    "ball": (BRIGHT, ("plastic", "rubber")),
    "plate": (VESSEL, ("ceramic", "wood", "plastic")),
    "pan": (COOKWARE, ("metal", "ceramic")),
    "brush": (UTENSIL, ("wood", "plastic")),
    "tape": (BRIGHT, ("plastic", "cloth")),
    "sponge": (SOFT, ("foam", "cloth")),
    "screwdriver": (BRIGHT, ("plastic", "rubber", "wood")),
    "candle": (SOFT, ("wax", "ceramic")),
}
"""The colours and materials of each kind's main part."""


@dataclass(frozen=True, order=True)
class Appearance:
    """One way that a kind can look."""

    shape: str
    colour: str
    material: str


def _split(kind: str) -> tuple[tuple[Appearance, ...], tuple[Appearance, ...]]:
    """Return the looks of a kind that are in common use, and the fifth that is set aside.

    The looks set aside run diagonally through the table of shape, colour and material, so that
    each shape, colour and material by itself is still in common use.
    """
    colours, materials = PALETTES[kind]
    looks = list(product(enumerate(BUILDERS[kind]), enumerate(colours), enumerate(materials)))
    offset = KINDS.index(kind)
    common: list[Appearance] = []
    uncommon: list[Appearance] = []
    for (i, shape), (j, colour), (k, material) in looks:
        aside = (i + j + 2 * k + offset) % 5 == 0
        (uncommon if aside else common).append(Appearance(shape, colour, material))
    return tuple(common), tuple(uncommon)


COMMON: dict[str, tuple[Appearance, ...]] = {kind: _split(kind)[0] for kind in KINDS}
"""Looks in the train, val and test splits."""
UNCOMMON: dict[str, tuple[Appearance, ...]] = {kind: _split(kind)[1] for kind in KINDS}
"""Looks in the uncommon split only."""

"""Colours, materials and patterns that every kind comes in, and what people call the colours."""

from dataclasses import dataclass
from itertools import product

from vltp_ros.simulation import appearance
from vltp_ros.simulation.appearance import BRIGHT, COLOURS, COOKWARE, UTENSIL, VESSEL, Material
from vltp_ros.simulation.crowded.forms import FORMS, KINDS, NO_KIND
from vltp_ros.simulation.splits import Split

MATERIALS: dict[str, Material] = {
    **appearance.MATERIALS,
    "rock": Material(0.1, 0.1, "granite"),
    "wicker": Material(0.08, 0.1, "wicker"),
    "peel": Material(0.3, 0.4, "fibre"),
    "glow": Material(0.0, 0.0, emission=0.95),
    "shade": Material(0.02, 0.05, "weave", emission=0.55),
}

FINISHES: dict[str, tuple[tuple[float, float, float], str]] = {
    **appearance.FINISHES,
    "beech": ((0.83, 0.66, 0.43), "wood"),
    "pink rubber": ((0.90, 0.52, 0.52), "rubber"),
    "dark glass": ((0.16, 0.18, 0.22), "glass"),
    "parcel tape": ((0.72, 0.56, 0.34), "plastic"),
    "glow": ((1.0, 0.95, 0.70), "glow"),
    "beam": ((1.0, 0.93, 0.60), "glow"),
    "lit shade": ((1.0, 0.88, 0.55), "shade"),
    "clear glass": ((0.84, 0.92, 0.94), "glass"),
}
"""What the parts that do not take an object's own colour are made of: RGB and material."""

ALPHAS = {"clear glass": 0.34, "beam": 0.5}
"""How much the finishes that can be seen through hide; all others hide everything."""

FILLINGS = ("cream", "orange", "cherry", "walnut", "sky", "yellow", "red", "lime")
"""Colours of drinks, soups and jams."""

FRUIT = ("red", "green", "lime", "yellow")
ROCK = ("grey", "iron", "steel", "white", "navy")
WICKER = ("pine", "oak", "walnut", "manila", "white", "cherry")
METAL = ("steel", "iron", "brass", "copper", "grey")
WOODEN = ("oak", "walnut", "pine", "cherry", "red", "blue", "green")
TABLEWARE = (*VESSEL, "blue", "orange", "black")
EVERYDAY = (*BRIGHT, "cream", "grey", "navy", "lime", "sky")

PALETTES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "mug": (TABLEWARE, ("ceramic", "metal")),
    "glass": (TABLEWARE, ("glass",)),
    "jug": (TABLEWARE, ("ceramic", "metal", "plastic")),
    "bowl": (TABLEWARE, ("ceramic", "wood", "plastic")),
    "pan": (COOKWARE, ("metal", "ceramic")),
    "bottle": (BRIGHT, ("glass", "plastic")),
    "jar": (EVERYDAY, ("metal", "plastic")),
    "can": (EVERYDAY, ("metal",)),
    "box": (("manila", "white", "red", "blue", "green", "purple", "grey", "yellow", "black"),
            ("cardboard", "plastic")),
    "book": (EVERYDAY, ("paper", "cloth")),
    "basket": (WICKER, ("wicker",)),
    "tray": ((*WOODEN, "white", "black", "yellow"), ("wood", "plastic", "metal")),
    "plate": (TABLEWARE, ("ceramic", "plastic")),
    "hammer": (UTENSIL, ("wood", "rubber", "plastic")),
    "mallet": (WOODEN, ("wood",)),
    "stone": (ROCK, ("rock",)),
    "wrench": ((*METAL, "red", "blue", "black"), ("metal",)),
    "screwdriver": (BRIGHT, ("plastic", "rubber", "wood")),
    "knife": (BRIGHT, ("plastic", "wood")),
    "scissors": (BRIGHT, ("plastic", "rubber")),
    "fork": ((*METAL, "oak", "red", "teal", "black"), ("metal", "plastic")),
    "spoon": (UTENSIL, ("metal", "wood", "plastic")),
    "spatula": (UTENSIL, ("metal", "wood", "plastic")),
    "rolling pin": (WOODEN, ("wood", "plastic")),
    "brush": (UTENSIL, ("wood", "plastic")),
    "sponge": (("yellow", "pink", "lime", "sky", "orange", "blue", "green"), ("foam",)),
    "towel": (EVERYDAY, ("cloth",)),
    "tape": (("manila", "grey", "black", "yellow", "red", "blue", "white"), ("plastic", "cloth")),
    "candle": (("cream", "white", "red", "pink", "green", "purple", "blue"), ("wax",)),
    "lamp": (EVERYDAY, ("metal", "plastic", "ceramic")),
    "torch": (BRIGHT, ("plastic", "metal")),
    "ball": (BRIGHT, ("plastic", "rubber")),
    "apple": (FRUIT, ("peel",)),
    "banana": (("yellow", "lime", "pine"), ("peel",)),
    "pencil": (BRIGHT, ("wood", "plastic")),
    NO_KIND: (tuple(COLOURS),
              ("plastic", "wood", "metal", "ceramic", "cardboard", "cloth", "rock")),
}  # fmt: skip
"""The colours and materials of each kind's main part."""

PATTERNED = frozenset(
    ("mug", "jug", "bowl", "plate", "towel", "box", "book", "lamp", "tray", "ball", "basket")
)
"""Kinds whose main part may bear a pattern."""

NAMED: dict[str, frozenset[str]] = {
    "red": frozenset({"red"}), "yellow": frozenset({"yellow"}),
    "green": frozenset({"green", "lime"}), "blue": frozenset({"blue", "sky", "navy"}),
    "white": frozenset({"white"}), "black": frozenset({"black"}),
}  # fmt: skip
"""Words for colours, and the colours that everybody calls so."""

DOUBTFUL: dict[str, frozenset[str]] = {
    "red": frozenset({"cherry", "copper", "pink", "orange"}),
    "yellow": frozenset({"brass", "lime", "pine", "cream", "orange"}),
    "green": frozenset({"teal"}), "blue": frozenset({"teal", "purple", "grey", "steel"}),
    "white": frozenset({"cream", "steel", "grey"}), "black": frozenset({"iron", "navy", "walnut"}),
}  # fmt: skip
"""The colours that some people would call so: nothing is asked that depends on them."""

PARTLY = frozenset(
    ("bottle", "jar", "can", "glass", "hammer", "knife", "scissors", "rolling pin", "brush",
     "sponge", "lamp", "candle", "ball", "banana", "pencil", "mallet", "screwdriver", "spatula")
)  # fmt: skip
"""Kinds of which other parts have other colours: doubtful when a colour is asked for at large."""


@dataclass(frozen=True, order=True)
class Look:
    """One way that a kind can look."""

    form: str
    colour: str
    material: str


def _split(kind: str, forms: tuple[str, ...]) -> tuple[tuple[Look, ...], tuple[Look, ...]]:
    """Return the looks of a kind in common use, and about a fifth of them that is set aside.

    Those set aside run diagonally through the table of form, colour and material, so that each of
    these by itself is still in common use.
    """
    colours, materials = PALETTES[kind]
    offset = KINDS.index(kind) if kind in KINDS else 0
    common: list[Look] = []
    uncommon: list[Look] = []
    for i, j, k in product(range(len(forms)), range(len(colours)), range(len(materials))):
        aside = (2 * i + j + 2 * k + offset) % 5 == 0
        (uncommon if aside else common).append(Look(forms[i], colours[j], materials[k]))
    return tuple(common), tuple(uncommon)


_SPLIT = {kind: _split(kind, tuple(forms)) for kind, forms in FORMS.items()}
COMMON: dict[str, tuple[Look, ...]] = {kind: looks[0] for kind, looks in _SPLIT.items()}
"""Looks in the train, val and test splits."""
UNCOMMON: dict[str, tuple[Look, ...]] = {kind: looks[1] for kind, looks in _SPLIT.items()}
"""Looks in the uncommon split only."""


def looks(kind: str, split: Split) -> tuple[Look, ...]:
    """Return the looks of a kind in a split."""
    return (UNCOMMON if split == "uncommon" else COMMON)[kind]

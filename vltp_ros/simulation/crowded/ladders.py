"""Things to be done, and what serves, best first."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ladder:
    """Something to be done, for which the best thing present serves."""

    name: str
    rungs: tuple[str, ...]
    """Kinds, best first."""
    heldout: str
    """The rung that answers in the uncommon split only."""
    goals: tuple[str, ...]
    """What fills phrasings.GOAL."""


LADDERS: dict[str, Ladder] = {ladder.name: ladder for ladder in (
    Ladder("drive_nail", ("hammer", "mallet", "stone", "wrench", "pan", "rolling pin"), "stone", (
        "drive a nail into the wall", "knock this nail in", "pound a nail into the board",
        "get a nail into hard wood", "strike a nail on its head")),
    Ladder("carry_water", ("jug", "pan", "bowl", "mug", "glass", "spoon"), "bowl", (
        "carry as much water as possible in one go", "fetch a lot of water from the tap",
        "bring the dog plenty of water", "scoop out a flooded boat",
        "pour a great deal of water on the fire")),
    Ladder("drink", ("glass", "mug", "bowl", "jug", "pan", "spoon"), "bowl", (
        "drink some cold juice", "have a drink of milk", "give a guest some water to drink",
        "sip lemonade", "take a few sips of water")),
    Ladder("stir", ("spoon", "spatula", "fork", "knife", "pencil", "screwdriver"), "fork", (
        "stir the soup", "mix a thick sauce", "keep the porridge from burning by stirring",
        "stir sugar into the batter", "mix flour and eggs in a pot")),
    Ladder("roll_dough", ("rolling pin", "bottle", "can", "jar", "glass", "candle"), "can", (
        "roll out the dough", "make the pastry flat and thin", "flatten a ball of dough evenly",
        "roll pizza dough into a sheet", "press biscuits to crumbs by rolling over them")),
    Ladder("hold_papers", ("stone", "book", "can", "jar", "mug", "bowl"), "jar", (
        "keep the papers from blowing away", "weigh down a pile of letters",
        "hold a map down in the wind", "press these sheets flat on the ground",
        "stop the napkins from flying off")),
    Ladder("serve_cake", ("plate", "tray", "bowl", "pan", "book", "box"), "bowl", (
        "serve a piece of cake", "put my sandwich on something clean",
        "hand a guest a slice of bread and cheese", "serve some biscuits", "set down a pancake")),
    Ladder("carry_apples", ("basket", "box", "bowl", "pan", "tray", "mug"), "pan", (
        "carry many apples home", "collect potatoes from the garden", "bring in a heap of nuts",
        "take a dozen eggs to the neighbour", "gather all the toy bricks")),
    Ladder("swat_fly", ("towel", "spatula", "book", "brush", "plate", "tray"), "brush", (
        "swat a fly", "chase a wasp away", "hit the mosquito on the wall",
        "strike at a fly without breaking anything", "catch that fly with one blow")),
    Ladder("skittles", ("ball", "apple", "can", "bottle", "jar", "tape"), "bottle", (
        "play skittles", "roll something at the pins", "bowl along the corridor with the children",
        "knock over the tin soldiers by rolling something", "play a game of rolling and catching")),
    Ladder("dig", ("spoon", "spatula", "mug", "bowl", "plate", "knife"), "spatula", (
        "dig a hole in the sand", "scoop earth into a flower pot", "plant a bulb in loose soil",
        "build a castle of sand", "shovel sand into a bucket")),
)}  # fmt: skip
"""By name."""

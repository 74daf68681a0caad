"""How tasks are put: frames, and what is filled into them.

The uncommon split has frames of its own, so that no sentence of it is one of another split's.
"""

from dataclasses import dataclass

import numpy as np

from vltp_ros.simulation.splits import Split


@dataclass(frozen=True)
class Frames:
    """Sentences with a gap, {}."""

    common: tuple[str, ...]
    """Of the train, val and test splits."""
    heldout: tuple[str, ...]
    """Of the uncommon split."""

    def fill(self, rng: np.random.Generator, split: Split, contents: tuple[str, ...]) -> str:
        """Draw a sentence with one of the contents."""
        frames = self.heldout if split == "uncommon" else self.common
        return frames[rng.integers(len(frames))].format(contents[rng.integers(len(contents))])


GOAL = Frames(
    common=(
        "what here is best to {}?", "I want to {}; hand me the best thing for it",
        "to {}, what should I take?", "find the most suitable thing to {}",
        "which of these would you use to {}?", "pick whatever works best to {}",
        "I have to {}, what helps most?", "the best thing at hand to {}",
        "what would you reach for to {}?", "we need to {}; get the most fitting thing",
    ),
    heldout=(
        "I must {}; which thing serves best?", "show me what to use if I want to {}",
        "help me {} with the best there is", "what is the first choice here to {}?",
    ),
)  # fmt: skip
"""Filled with something to be done."""

THING = Frames(
    common=(
        "find {}", "show me {}", "point at {}", "{}", "I am looking for {}", "hand me {}",
        "please mark {}", "can you see {}?", "I need {}",
    ),
    heldout=("could you pick out {}?", "I would like to have {}", "bring me {}", "look for {}"),
)  # fmt: skip
"""Filled with a description of what is meant."""

STATES: dict[str, tuple[str, ...]] = {
    "empty": (
        "the empty vessels for food or drink", "every vessel that a drink could still go in",
        "all vessels with nothing in them", "what I can still pour something into",
        "whatever could be filled with water, as it is empty",
    ),
    "full": (
        "the vessels that have been filled", "every vessel with a drink or soup in it",
        "the full vessels", "what somebody has already poured something into",
        "whatever would spill if it were tipped over",
    ),
    "open": (
        "what has been left open", "everything that stands open", "the things that are not shut",
        "whatever somebody forgot to close", "everything with its lid, flaps or cover open",
    ),
    "closed": (
        "the boxes, books, jars and cans that are closed",
        "whichever box, book, jar or can is shut",
        "the closed ones of the boxes, books, jars and cans",
        "every box, book, jar or can that still has to be opened",
    ),
    "lit": (
        "what gives light now", "every light that is on", "whatever burns or is switched on",
        "the lights that are lit", "what I should put out before I leave",
    ),
    "unlit": (
        "the lights that are off", "whatever could give light but does not",
        "every lamp, torch or candle that is dark", "the lights that I could still turn on",
    ),
}  # fmt: skip
"""Descriptions of states."""

GROUPS: dict[str, tuple[tuple[str, str], ...]] = {
    "crockery": (("piece of crockery", "crockery"), ("dish or cup", "dishes and cups")),
    "tool": (("tool", "tools"), ("tool from the workshop", "tools from the workshop")),
    "utensil": (("kitchen utensil", "kitchen utensils"), ("utensil", "utensils")),
    "provision": (
        ("bottle, jar or can", "bottles, jars and cans"),
        ("bottle, can or jar", "bottles, cans and jars"),
    ),
    "vessel": (("vessel", "vessels"), ("vessel for food or drink", "vessels for food or drink")),
    "light": (("light", "lights"), ("thing to give light", "things to give light")),
}
"""What groups of kinds are called: one and many."""

EXTREMES: dict[str, tuple[str, ...]] = {
    "largest": ("the largest {}", "the biggest {}", "whichever {} is the largest"),
    "smallest": ("the smallest {}", "the tiniest {}", "whichever {} is the smallest"),
}
COLOURED = ("the {c} {many}", "{many} that are {c}", "every {c} {one}", "each {one} in {c}")
UNCOLOURED = (
    "the {many} that are not {c}", "every {one} but the {c} ones", "any {one} that is not {c}",
    "the {many} without the {c} ones",
)  # fmt: skip
INSIDE = ("what is inside the {}", "the contents of the {}", "everything in the {}",
          "what somebody has put into the {}")  # fmt: skip
ON = ("what lies on top of the {}", "what stands on the {}", "everything on the {}",
      "what has to be taken off the {} first")  # fmt: skip
NEAREST = ("the thing nearest to the {}", "what is closest to the {}",
           "the direct neighbour of the {}", "whatever is right beside the {}")  # fmt: skip
SIDES: dict[str, tuple[str, ...]] = {
    "left": ("the {many} left of the {ref}", "every {one} to the left of the {ref}",
             "the {many} on the left side of the {ref}"),
    "right": ("the {many} right of the {ref}", "every {one} to the right of the {ref}",
              "the {many} on the right side of the {ref}"),
}  # fmt: skip
"""How comparisons, colours and places are put."""

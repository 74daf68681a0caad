"""What an evaluation measures of each expression, as a line of JSON says it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What is measured of the answer to an expression in one setting."""

    intersection: int  # pixels of both masks, the predicted and the right one
    union: int  # pixels of either
    tokens: tuple[int, ...]  # that each stage ran; () where nothing was pruned
    ms: float  # from image to mask
    mask: dict[str, Any] | None = None  # run lengths of the predicted one, in COCO's format


@dataclass(frozen=True)
class Measurement:
    """What came of an expression: an answer in each setting, or why it was left out."""

    number: int  # 0-based, among the expressions of the evaluation
    image_id: str
    task: str
    image_sha256: str = ""
    answers: tuple[Answer, ...] = ()
    problem: str = ""

    def to_json(self) -> str:
        """Return it in one line."""
        return json.dumps(dataclasses.asdict(self))


def read_measurement(record: dict[str, Any], settings: int) -> Measurement:
    """Return what a line says, without the masks.

    Args:
        record: the line, parsed.
        settings: how many answers there must be.

    Raises:
        KeyError: for what is missing.
        ValueError: for another number of answers, or pixels that no two masks have.
    """
    answers = [
        Answer(one["intersection"], one["union"], tuple(one["tokens"]), one["ms"])
        for one in record["answers"]
    ]
    if len(answers) != (0 if record["problem"] else settings):
        raise ValueError(f"it has {len(answers)} answers; there are {settings} settings")
    for one in answers:
        if not 0 <= one.intersection <= one.union:
            raise ValueError(f"{one.intersection} pixels of {one.union} overlap")
    given = {field.name: record[field.name] for field in dataclasses.fields(Measurement)}
    return Measurement(**{**given, "answers": tuple(answers)})

"""Pictures that somebody looks at: what is seen of answers painted over their image."""

from __future__ import annotations

import numpy as np
import pytest

from vltp_ros.imaging.instances import separate
from vltp_ros.imaging.overlay import (
    COLOURS,
    CONTRAST,
    DARK,
    choose_colours,
    draw_overlay,
    tint,
    to_lab,
)
from vltp_ros.imaging.tracking import Tracker
from vltp_ros.types import Segmentation

SHAPE = (240, 320)


def disc(column: int, row: int, radius: int = 20, shape=SHAPE) -> np.ndarray:
    rows, columns = np.indices(shape)
    return np.hypot(rows - row, columns - column) < radius


def answered(*masks: np.ndarray, task: str = "cut"):
    """Answers, each with its numbered instances."""
    results = [Segmentation.certain(task, mask, 0.5) for mask in masks]
    instances = Tracker().update(dict(enumerate(map(separate, results))), 0.0)
    return [(result, instances[number]) for number, result in enumerate(results)]


def rows_written(image: np.ndarray, painted: np.ndarray) -> int:
    return int(np.count_nonzero((image != painted).any((1, 2))))


@pytest.mark.parametrize("below", [*COLOURS, (128, 128, 128)], ids=str)
def test_a_colour_differs_from_what_it_covers(below):
    image = np.empty((*SHAPE, 3), np.uint8)
    image[:] = below
    ((_, instances),) = answered(disc(100, 100))
    (colour,) = choose_colours(image, instances).values()
    lab, other = to_lab(np.array([colour, below]))
    assert np.linalg.norm(lab - other) >= CONTRAST


def test_things_in_one_picture_have_colours_of_their_own():
    image = np.full((*SHAPE, 3), 128, np.uint8)
    answers = answered(*(disc(30 + 50 * place, 100) for place in range(6)))
    colours = choose_colours(image, [one for _, found in answers for one in found])
    assert len({tuple(colour) for colour in colours.values()}) == 6
    # A seventh has one that another has too, and the others keep theirs.
    answers = answered(*(disc(30 + 43 * place, 100) for place in range(7)))
    more = choose_colours(image, [one for _, found in answers for one in found])
    assert len(more) == 7
    assert all(tuple(more[track]) == tuple(colour) for track, colour in colours.items())


def test_the_outline_is_of_two_tones_and_grows_with_the_picture():
    widths = []
    for size in (1, 4):
        painted = np.full((240 * size, 320 * size, 3), 128, np.uint8)
        mask = disc(160 * size, 120 * size, 60 * size, painted.shape[:2])
        tint(painted, mask, colour=COLOURS[1], alpha=0.0)
        across = painted[120 * size]
        is_dark, is_bright = ((across == tone).all(1) for tone in (DARK, COLOURS[1]))
        assert is_dark.sum() > is_bright.sum() > 0
        widths.append(int(is_bright.sum()))
    assert widths[1] == pytest.approx(4 * widths[0], rel=0.3)


def test_that_nothing_serves_is_written():
    image = np.full((*SHAPE, 3), 128, np.uint8)
    painted = draw_overlay(image, answered(np.zeros(SHAPE, bool)))
    assert 0 < rows_written(image, painted) < 20
    assert (draw_overlay(image, answered(np.zeros(SHAPE, bool)), labels=False) == image).all()


def test_long_tasks_are_wrapped_and_every_task_has_its_line():
    image = np.full((*SHAPE, 3), 128, np.uint8)
    none = np.zeros(SHAPE, bool)
    one = rows_written(image, draw_overlay(image, answered(none)))
    assert rows_written(image, draw_overlay(image, answered(none, none, none))) == 3 * one
    task = "something für den großen Tisch in der Küche " * 3
    assert rows_written(image, draw_overlay(image, answered(none, task=task))) >= 3 * one


def test_colours_that_somebody_chose_are_taken():
    image = np.full((*SHAPE, 3), 128, np.uint8)
    mask = disc(160, 120)
    painted = draw_overlay(image, answered(mask), 1.0, False, {1: COLOURS[3]})
    assert (painted[mask & disc(160, 120, 15)] == COLOURS[3]).all()


@pytest.mark.parametrize("shape", [(1, 1), (2, 400), (400, 2)])
def test_pictures_too_small_for_letters(shape):
    painted = draw_overlay(np.zeros((*shape, 3), np.uint8), answered(np.ones(shape, bool)))
    assert painted.shape == (*shape, 3)

"""Crowded scenes and their tasks, without rendering."""

from dataclasses import replace

import numpy as np
import pytest

from vltp_ros.simulation.crowded import answers, forms, hosts, patterns
from vltp_ros.simulation.crowded.answers import GROUPS, VisibleObject
from vltp_ros.simulation.crowded.appearance import (
    COMMON,
    FINISHES,
    MATERIALS,
    NAMED,
    PALETTES,
    UNCOMMON,
)
from vltp_ros.simulation.crowded.forms import KINDS, NO_KIND, shape
from vltp_ros.simulation.crowded.ladders import LADDERS
from vltp_ros.simulation.crowded.layout import footprint, renumbered, with_hosts
from vltp_ros.simulation.crowded.sampling import OBJECTS, draw_plan, sample_scene
from vltp_ros.simulation.crowded.scene import Item, placement
from vltp_ros.simulation.crowded.tasks import FAMILIES, TASKS
from vltp_ros.simulation.parts import MAIN

SHAPES = [
    (kind, form, state)
    for kind, all_forms in forms.ALL_FORMS.items()
    for form, states in all_forms.items()
    for state in states
]


@pytest.fixture(scope="module")
def some():
    seeds = {"train": range(8), "uncommon": range(10**6, 10**6 + 8)}  # none that is measured on
    return [sample_scene(seed, split) for split, some in seeds.items() for seed in some]


def seen(kind: str, column: float = 0.0, **changes) -> VisibleObject:
    """Return what is seen of an upright object of a kind, 100 of 100 pixels."""
    form = next(iter(forms.ALL_FORMS[kind]))
    state = next(iter(forms.ALL_FORMS[kind][form]))
    item = Item(kind, form, state, "purple", "plastic", None, "TEA", (1, 0, 0), (1, 0, 0), 1.0)
    item = replace(item, **{k: v for k, v in changes.items() if hasattr(item, k)})
    item = replace(item, position=(column / 100, 0.0, 0.0))
    whole = changes.get("whole", 100)
    pixels = changes.get("pixels", whole)
    return VisibleObject(item, item.state, pixels, whole, (column, 50.0), (0, 0, 1, 1))


def test_there_are_enough_kinds_and_families():
    assert len(KINDS) >= 28
    assert {task.family for task in TASKS.values()} == set(FAMILIES) - {"E"}
    assert {task.family for task in TASKS.values() if not task.common} == {"B+D", "C+D"}


@pytest.mark.parametrize("name", SHAPES, ids="-".join)
def test_shapes_rest_on_their_support(name):
    points = shape(*name).points
    assert abs(points[:, 2].min()) < 0.003
    assert 0.05 < np.ptp(points, axis=0).max() < 0.31


def test_names_in_the_tables_exist():
    finishes = {part.finish for name in SHAPES for part in shape(*name).parts}
    assert finishes - {MAIN, "filling", "wrapped label", "flat label"} <= set(FINISHES)
    assert {material for _, material in FINISHES.values()} <= set(MATERIALS)
    assert set(PALETTES) == {*KINDS, NO_KIND}
    assert set(hosts.HOSTS) <= set(SHAPES)
    assert frozenset().union(*(one.members | one.doubtful for one in GROUPS.values())) <= set(KINDS)
    textures = {one.texture for one in MATERIALS.values()} - {None}
    assert textures <= set(patterns.OBJECT_COVERS)


@pytest.mark.parametrize("kind", KINDS)
def test_some_looks_of_every_kind_are_set_aside(kind):
    assert COMMON[kind]
    assert UNCOMMON[kind]
    assert not set(COMMON[kind]) & set(UNCOMMON[kind])
    assert {look.form for look in COMMON[kind]} == set(forms.FORMS[kind])


def test_no_common_sentence_is_uncommon():
    common, heldout = set(), set()
    for task in TASKS.values():
        for content in task.contents:
            common |= {frame.format(content) for frame in task.frames.common}
            heldout |= {frame.format(content) for frame in task.frames.heldout}
    assert not common & heldout


@pytest.mark.parametrize("ladder", LADDERS.values(), ids=lambda ladder: ladder.name)
def test_a_ladder_has_rungs_enough_and_one_in_the_middle_set_aside(ladder):
    assert len(set(ladder.rungs)) == len(ladder.rungs) >= 6
    assert set(ladder.rungs) <= set(KINDS)
    assert ladder.heldout in ladder.rungs[1:-1]


@pytest.mark.parametrize("split", ["train", "uncommon"])
def test_a_plan_has_the_rung_that_serves_and_all_below_it(split):
    rng = np.random.default_rng(0)
    best = []
    for _ in range(200):
        plan = draw_plan(rng, split)
        for name in plan.ladders:
            rungs = LADDERS[name].rungs
            present = [kind for kind in rungs if kind in plan.kinds]
            assert present == list(rungs[len(rungs) - len(present) :])
            best += [present[0] == LADDERS[name].heldout] if present else []
    assert np.mean(best) == 0 if split == "train" else np.mean(best) > 0.3


def test_a_scene_is_a_function_of_its_seed(some):
    for scene in some[::5]:
        assert sample_scene(scene.seed, scene.split) == scene


@pytest.mark.parametrize(("seed", "split"), [(0, "dev"), (-1, "train")])
def test_bad_arguments_are_named(seed, split):
    with pytest.raises(ValueError, match="dev" if split == "dev" else "-1"):
        sample_scene(seed, split)


def test_scenes_are_crowded(some):
    for scene in some:
        kinds = [item.kind for item in scene.objects]
        assert OBJECTS[1] >= len(kinds) - kinds.count(NO_KIND) >= 16
        assert NO_KIND in kinds


def test_objects_stand_on_boards_or_on_what_hosts_them(some):
    assert {scene.support.kind for scene in some} == {"table", "shelf", "drawer"}
    for scene in some:
        heights = [board.height for board in scene.support.boards]
        for index, item in enumerate(scene.objects):
            linear, shift = placement(item)
            low = (shape(item.kind, item.form, item.state).points @ linear.T + shift)[:, 2].min()
            assert low == pytest.approx(item.position[2])
            if item.host is None:
                assert any(abs(low - height) < 1e-9 for height in heights)
            else:
                host = scene.objects[item.host]
                assert item.host < index
                assert low > host.position[2]
                assert item.position[:2] == host.position[:2]


def test_a_footprint_turns_with_its_object():
    item = seen("rolling pin").item
    along, across = footprint(item, 0.0), footprint(item, np.pi / 2)
    assert along.any(0).sum() > 2 * along.any(1).sum()
    assert across.any(1).sum() > 2 * across.any(0).sum()


def test_what_lies_in_something_goes_with_it():
    alone = seen("apple").item
    objects = [seen("bowl").item, seen("mug").item, replace(alone, host=0), replace(alone, host=1)]
    kept = with_hosts(objects, np.array([1, 2, 3]))
    assert kept.tolist() == [1, 3]
    assert [item.host for item in renumbered(objects, kept)] == [None, 0]


def test_the_best_rung_in_view_serves():
    some = [seen("stone"), seen("mallet"), seen("mallet"), seen("pan")]
    assert TASKS["drive_nail"].answer(some) == (1, 2)
    assert TASKS["drive_nail"].answer([*some, seen("hammer")]) == (4,)
    assert TASKS["drive_nail"].answer([seen("apple")]) == ()


def test_states_are_asked_for_where_most_are_otherwise():
    some = [seen("mug"), seen("bowl", state="full"), seen("jug", state="full")]
    assert TASKS["empty"].answer(some) == (0,)
    assert TASKS["full"].answer(some) is None
    assert TASKS["lit"].answer(some) is None
    assert TASKS["closed"].answer([seen("can", state="open"), seen("jar", state="open")]) == ()


def test_the_largest_has_to_be_clearly_larger():
    sizes = [1.0, 1.0, 1.0, 1.3]
    some = [seen("plate", size=size, whole=int(100 * size**2)) for size in sizes]
    assert TASKS["largest crockery"].answer(some) == (3,)
    assert TASKS["smallest crockery"].answer(some) is None
    some[3] = replace(some[3], item=replace(some[3].item, size=1.05))
    assert TASKS["largest crockery"].answer(some) is None


def test_colours_that_are_doubtful_are_not_asked_for():
    colours = ["red", "blue", "white", "green"]
    some = [seen("mug", colour=colour) for colour in colours]
    assert TASKS["red crockery"].answer(some) == (0,)
    assert TASKS["not red crockery"].answer(some) is None  # too many
    assert TASKS["red crockery"].answer([*some, seen("bowl", colour="cherry")]) is None
    assert TASKS["red crockery"].answer([*some, seen("tray", colour="red")]) is None
    assert set(NAMED) >= {"red", "blue", "green"}


def test_contents_belong_to_the_only_host():
    bowl = replace(seen("bowl"), state="holding")
    some = [bowl, seen("apple", host=0), seen("apple")]
    assert TASKS["inside bowl"].answer(some) == (1,)
    assert TASKS["inside bowl"].answer([bowl, seen("apple")]) == ()
    assert TASKS["inside bowl"].answer([*some, seen("bowl")]) is None


def test_the_nearest_is_clearly_nearest():
    lamp = seen("lamp", 100)
    assert TASKS["nearest lamp"].answer([lamp, seen("mug", 130), seen("pan", 40)]) == (1,)
    assert TASKS["nearest lamp"].answer([lamp, seen("mug", 130), seen("pan", 65)]) is None
    assert TASKS["nearest lamp"].answer([lamp, seen(NO_KIND, 130), seen("pan", 40)]) is None


def test_left_and_right_are_those_of_the_image():
    some = [seen("lamp", 100), seen("fork", 20), seen("spoon", 160), seen("knife", 180)]
    assert TASKS["utensil left of lamp"].answer(some) == (1,)
    some[1] = seen("fork", 100 - answers.ASIDE / 2)
    assert TASKS["utensil left of lamp"].answer(some) is None

"""Scenes drawn from seeds, without rendering."""

from functools import cache
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vltp_ros.simulation import SPLITS, TASKS, sample_scene
from vltp_ros.simulation.camera import HEIGHT, ORBIT_SECONDS, WIDTH
from vltp_ros.simulation.queries import draw_queries
from vltp_ros.simulation.sampling import GAP
from vltp_ros.simulation.scene import apart, bounds, placement
from vltp_ros.simulation.shapes import shape

scenes = st.builds(sample_scene, st.integers(0, 2**40), st.sampled_from(SPLITS))


@settings(max_examples=40, deadline=None)
@given(scenes)
def test_a_scene_is_a_function_of_its_seed(scene):
    assert sample_scene(scene.seed, scene.split) == scene


@settings(max_examples=40, deadline=None)
@given(scenes)
def test_objects_rest_on_the_table_apart_from_each_other(scene):
    assert 1 <= len(scene.objects) <= 7
    for item in scene.objects:
        linear, shift = placement(item)
        world = shape(item.kind, item.shape).points @ linear.T + shift
        assert abs(world[:, 2].min()) < 1e-9
        box = bounds(item)
        assert np.all(world.min(axis=0) >= box.min(axis=0) - 1e-9)
        assert np.all(world.max(axis=0) <= box.max(axis=0) + 1e-9)
    for one, other in combinations(scene.objects, 2):
        assert apart(bounds(one)[:4, :2], bounds(other)[:4, :2], GAP - 1e-9)


@settings(max_examples=40, deadline=None)
@given(scenes)
def test_objects_lie_within_the_image(scene):
    for item in scene.objects:
        pixels = scene.camera.project(bounds(item))
        assert np.all(pixels > 0)
        assert np.all(pixels < (WIDTH, HEIGHT))


@given(scenes, st.floats(0, WIDTH), st.floats(HEIGHT / 2, HEIGHT))
@settings(max_examples=40, deadline=None)
def test_projecting_a_point_of_the_table_gives_its_pixel(scene, column, row):
    spot = scene.camera.on_plane(np.array([[column, row]]))
    pixel = scene.camera.project(np.pad(spot, ((0, 0), (0, 1))))
    np.testing.assert_allclose(pixel, [(column, row)], atol=1e-6)


def test_splits_draw_different_scenes():
    assert len({sample_scene(5, split).objects for split in SPLITS}) == len(SPLITS)


def test_the_camera_orbits_slowly_and_returns():
    camera = sample_scene(3, "train").camera
    assert camera.orbit(0) == camera
    assert camera.orbit(ORBIT_SECONDS).azimuth == pytest.approx(camera.azimuth)
    turned = [camera.orbit(t).azimuth - camera.azimuth for t in np.linspace(0, ORBIT_SECONDS)]
    assert 14 < np.degrees(max(turned)) <= 15.001


@pytest.mark.parametrize(("seed", "split"), [(0, "dev"), (-1, "train")])
def test_bad_arguments_are_named(seed, split):
    with pytest.raises(ValueError, match="dev" if split == "dev" else "-1"):
        sample_scene(seed, split)


drawn = cache(sample_scene)
"""Scenes that several tests count."""


def looks_and_texts(split: str, count: int = 200):
    """Return the looks and phrasings of some hundred scenes."""
    looks, texts = set(), set()
    for scene in (drawn(seed, split) for seed in range(count)):
        kinds = [item.kind for item in scene.objects]
        looks |= {(one.kind, one.shape, one.colour, one.material) for one in scene.objects}
        texts |= {query.text for query in draw_queries(scene, kinds)}
    return looks, texts


def test_uncommon_looks_and_phrasings_are_nowhere_else():
    uncommon_looks, uncommon_texts = looks_and_texts("uncommon")
    for split in ("train", "val", "test"):
        looks, texts = looks_and_texts(split)
        assert not looks & uncommon_looks
        assert not texts & uncommon_texts


def test_first_queries_are_a_good_sample():
    counts, empty = dict.fromkeys((task.name for task in TASKS), 0), 0
    total = 500
    for scene in (drawn(seed, "test") for seed in range(total)):
        first = draw_queries(scene, [item.kind for item in scene.objects])[0]
        counts[first.task] += 1
        empty += not first.objects
    assert 0.11 < empty / total < 0.19
    assert min(counts.values()) > 0.5 * total / len(TASKS)
    assert max(counts.values()) < 1.6 * total / len(TASKS)


def test_queries_ask_for_every_served_task_and_some_others():
    served = {task.name: task.kinds for task in TASKS}
    for scene in (drawn(seed, "train") for seed in range(60)):
        kinds = [item.kind for item in scene.objects]
        queries = draw_queries(scene, kinds)
        asked = {query.task for query in queries}
        assert {name for name, of in served.items() if of & set(kinds)} <= asked
        assert len(asked) == len(queries)
        assert any(not query.objects for query in queries)
        for query in queries:
            expected = [i for i, kind in enumerate(kinds, 1) if kind in served[query.task]]
            assert list(query.objects) == expected


def test_a_scene_without_objects_can_be_asked_about():
    scene = sample_scene(0, "train")
    assert all(not query.objects for query in draw_queries(scene, []))

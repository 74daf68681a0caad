"""Kinds, tasks, phrasings and looks fit together."""

import re
import subprocess
import sys

import numpy as np
import pytest

from vltp_ros.simulation import KINDS, TASKS
from vltp_ros.simulation.appearance import COMMON, FINISHES, MATERIALS, PALETTES, UNCOMMON
from vltp_ros.simulation.meshes import corner_normals
from vltp_ros.simulation.parts import MAIN
from vltp_ros.simulation.shapes import BUILDERS, shape
from vltp_ros.simulation.textures import OBJECT_TEXTURES, SURFACE_TEXTURES

VARIANTS = [(kind, variant) for kind, variants in BUILDERS.items() for variant in variants]


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def test_enough_of_everything():
    assert len(KINDS) >= 16
    assert len(TASKS) >= 14
    assert all(len(variants) >= 2 for variants in BUILDERS.values())
    assert all(len(task.phrasings) >= 12 for task in TASKS)
    assert all(len(task.heldout_phrasings) >= 4 for task in TASKS)


def test_every_kind_serves_and_every_task_is_served_by_known_kinds():
    assert frozenset().union(*(task.kinds for task in TASKS)) == set(KINDS)


def test_no_phrasing_comes_twice():
    phrasings = [text for task in TASKS for text in task.phrasings + task.heldout_phrasings]
    assert len({text.lower() for text in phrasings}) == len(phrasings)


def test_no_phrasing_names_a_kind():
    names = {name for kind in KINDS for name in (kind, kind + "s", kind + "es")}
    for task in TASKS:
        for text in task.phrasings + task.heldout_phrasings:
            assert not words(text) & names, text


def test_heldout_phrasings_mostly_reuse_words():
    known = set().union(*(words(text) for task in TASKS for text in task.phrasings))
    for task in TASKS:
        used = [words(text) for text in task.heldout_phrasings]
        assert all(len(one - known) <= 1 for one in used), task.name


@pytest.mark.parametrize("kind", KINDS)
def test_about_a_fifth_of_the_looks_is_set_aside(kind):
    common, uncommon = set(COMMON[kind]), set(UNCOMMON[kind])
    assert not common & uncommon
    assert 0.1 < len(uncommon) / len(common | uncommon) < 0.3
    for part in ("shape", "colour", "material"):
        everything = {getattr(look, part) for look in common | uncommon}
        assert {getattr(look, part) for look in common} == everything


def test_names_of_finishes_materials_and_textures_exist():
    finishes = {part.finish for variant in VARIANTS for part in shape(*variant).parts}
    assert finishes - {MAIN} == set(FINISHES)
    used = {material for _, materials in PALETTES.values() for material in materials}
    assert used | {material for _, material in FINISHES.values()} == set(MATERIALS)
    textures = {material.texture for material in MATERIALS.values()} - {None}
    assert textures == set(OBJECT_TEXTURES)


@pytest.mark.parametrize("paint", [*OBJECT_TEXTURES.values(), *SURFACE_TEXTURES.values()])
def test_textures_are_grey_levels(paint):
    assert 0 <= paint().min() < paint().max() <= 1


@pytest.mark.parametrize(("kind", "variant"), VARIANTS)
def test_shapes_rest_on_the_table_and_are_seen_well(kind, variant):
    points = shape(kind, variant).points
    size = points.max(axis=0) - points.min(axis=0)
    assert abs(points[:, 2].min()) < 0.003
    assert 0.1 < size.max() < 0.3
    for part in shape(kind, variant).parts:
        length = np.linalg.norm(corner_normals(part.surface), axis=-1)
        np.testing.assert_allclose(length, 1, atol=1e-6)


def test_importing_the_package_leaves_mujoco_alone():
    check = "import sys, vltp_ros.simulation; sys.exit('mujoco' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0

"""Crowded scenes in pixels, and on disk."""

import json

import cv2
import numpy as np
import pytest

from vltp_ros.cli.main import main
from vltp_ros.data.scenes import TabletopDataset
from vltp_ros.simulation import generate_dataset
from vltp_ros.simulation.crowded.appearance import COMMON, Look
from vltp_ros.simulation.crowded.forms import NO_KIND
from vltp_ros.simulation.crowded.ladders import LADDERS
from vltp_ros.simulation.crowded.sampling import sample_scene
from vltp_ros.simulation.crowded.tasks import TASKS

render = pytest.importorskip(
    "vltp_ros.simulation.crowded.render",
    reason="MuJoCo is missing: pip install '.[simulation]'",
)


@pytest.fixture(scope="module")
def renderer():
    with render.SceneRenderer() as renderer:
        yield renderer


@pytest.fixture(scope="module")
def some(renderer):
    seeds = {"train": range(6), "uncommon": range(10**6, 10**6 + 6)}  # none that is measured on
    return [
        renderer.render(sample_scene(seed, split)) for split, some in seeds.items() for seed in some
    ]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("crowded")
    generate_dataset(out, 2, 0, "train", workers=1, progress=False, edition=2)
    return TabletopDataset(out)


def test_same_seed_same_pixels(renderer, some):
    for rendered in some[::5]:
        again = renderer.render(rendered.scene)
        np.testing.assert_array_equal(again.image, rendered.image)
        np.testing.assert_array_equal(again.labels, rendered.labels)
        assert again.queries == rendered.queries


def test_images_are_wide_or_square(some):
    sizes = {rendered.image.shape for rendered in some}
    assert sizes == {(480, 640, 3), (512, 512, 3)}


def test_labels_are_the_objects(some):
    for rendered in some:
        areas = np.bincount(rendered.labels.ravel(), minlength=len(rendered.seen) + 1)[1:]
        assert list(areas) == [one.pixels for one in rendered.seen]
        assert areas.min() >= render.MIN_PIXELS
        for label, one in enumerate(rendered.seen, 1):
            rows, columns = np.nonzero(rendered.labels == label)
            assert one.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert one.centroid == pytest.approx((columns.mean(), rows.mean()))
            assert one.pixels >= render.MIN_VISIBLE * one.whole * 0.99


def test_a_mask_is_where_the_colour_changes_without_the_object(renderer, some):
    scene = some[0].scene
    figures = [render.figure(one.item) for one in some[0].seen]
    rest = renderer._labels(scene, figures[1:])
    hidden = some[0].labels == 1
    np.testing.assert_array_equal((some[0].labels.astype(int) - 1)[~hidden].clip(0), rest[~hidden])


def test_answers_follow_from_the_description(some):
    for rendered in some:
        assert len(rendered.queries) >= 4
        for query in rendered.queries:
            task = TASKS[query.task]
            assert tuple(label - 1 for label in query.objects) == task.answer(rendered.seen)
            assert query.family == (task.family if query.objects else "E")


def test_nothing_better_is_in_view(some):
    for rendered in some:
        kinds = {item.kind for item in rendered.objects}
        for query in rendered.queries:
            if query.task in LADDERS and query.objects:
                (answer,) = {rendered.objects[label - 1].kind for label in query.objects}
                rungs = LADDERS[query.task].rungs
                assert not kinds & set(rungs[: rungs.index(answer)])


def test_what_is_held_out_is_in_no_other_split(some):
    for rendered in some:
        uncommon = rendered.scene.split == "uncommon"
        for item in rendered.objects:
            if item.kind != NO_KIND:
                look = Look(item.form, item.colour, item.material)
                assert (look in COMMON[item.kind]) != uncommon
        for query in rendered.queries:
            frames = TASKS[query.task].frames
            texts = {
                frame.format(content)
                for frame in (frames.heldout if uncommon else frames.common)
                for content in TASKS[query.task].contents
            }
            assert query.text in texts
            answers = {rendered.objects[label - 1].kind for label in query.objects}
            if not uncommon:
                assert TASKS[query.task].common
                assert query.task not in LADDERS or LADDERS[query.task].heldout not in answers


def test_the_view_starts_as_the_still_image_and_moves(renderer, some):
    np.testing.assert_array_equal(renderer.view(some[0].scene, 0.0), some[0].image)
    assert np.mean(renderer.view(some[0].scene, 2.0) != some[0].image) > 0.2


def test_a_dataset_tells_what_was_rendered(dataset, some):
    scene = dataset[0]
    assert dataset.edition == 2
    assert dataset.description["rendering"]["scenes"] == 2
    np.testing.assert_array_equal(scene.labels, some[0].labels)
    assert np.abs(scene.image.astype(int) - some[0].image).mean() < 4
    assert scene.kinds == tuple(item.kind or None for item in some[0].objects)
    assert [one["state"] for one in scene.objects] == [one.state or None for one in some[0].seen]
    for query, asked in zip(scene.queries, some[0].queries, strict=True):
        assert (query["text"], query["family"]) == (asked.text, asked.family)
        mask = np.isin(some[0].labels, asked.objects)
        np.testing.assert_array_equal(scene.mask(query), mask)


def test_another_edition_is_refused(dataset):
    with pytest.raises(ValueError, match="edition 2, not 1"):
        generate_dataset(dataset.directory, 1, 0, "train", progress=False)


def test_an_unknown_edition_is_named(tmp_path):
    with pytest.raises(ValueError, match="edition 3 is none of 1, 2"):
        generate_dataset(tmp_path / "new", 1, 0, "train", progress=False, edition=3)
    assert not (tmp_path / "new").exists()


def test_the_gates_command_fails_where_a_gate_does(dataset, tmp_path, capsys):
    paths = ["--train", str(dataset.directory), "--val"]
    assert main(["gates", *paths, str(dataset.directory), "--json"]) == 1
    rows = {(row["name"], row["split"]): row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["sentences of a scene", "train"]["passed"]
    assert not rows["answers to a sentence", "train"]["passed"]  # too few scenes to tell
    generate_dataset(tmp_path, 1, 0, "val", workers=1, progress=False, edition=2)
    image = tmp_path / "masks" / "000000.png"
    cv2.imwrite(str(image), np.zeros_like(cv2.imread(str(image), cv2.IMREAD_UNCHANGED)))
    assert main(["gates", *paths, str(tmp_path), "--json"]) == 1
    rows = {(row["name"], row["split"]): row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert not rows["uniform patches", "val"]["passed"]

"""Images, masks and data sets, drawn by MuJoCo."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from vltp_ros.cli import scenes
from vltp_ros.simulation import TASKS, generate_dataset, sample_scene
from vltp_ros.simulation.scene import bounds

render = pytest.importorskip(
    "vltp_ros.simulation.render", reason="MuJoCo is missing: pip install '.[simulation]'"
)


@pytest.fixture(scope="module")
def renderer():
    with render.SceneRenderer() as renderer:
        yield renderer


@pytest.fixture(scope="module")
def some(renderer):
    return [renderer.render(sample_scene(seed, "train")) for seed in range(12)]


def test_same_seed_same_pixels(some):
    with render.SceneRenderer() as fresh:
        for rendered in some[:3]:
            again = fresh.render(sample_scene(rendered.scene.seed, "train"))
            np.testing.assert_array_equal(again.image, rendered.image)
            np.testing.assert_array_equal(again.labels, rendered.labels)
            assert again.queries == rendered.queries


def test_labels_are_the_objects(some):
    for rendered in some:
        assert rendered.image.shape == (480, 640, 3)
        assert rendered.labels.shape == (480, 640)
        assert rendered.image.dtype == rendered.labels.dtype == np.uint8
        assert set(np.unique(rendered.labels)) == set(range(len(rendered.objects) + 1))
        areas = np.bincount(rendered.labels.ravel())[1:]
        assert areas.min() >= render.MIN_PIXELS


def test_masks_lie_where_the_objects_project(some):
    for rendered in some:
        for label, item in enumerate(rendered.objects, 1):
            corners = rendered.scene.camera.project(bounds(item))
            rows, columns = np.nonzero(rendered.labels == label)
            assert corners[:, 0].min() - 2 <= columns.min()
            assert columns.max() <= corners[:, 0].max() + 2
            assert corners[:, 1].min() - 2 <= rows.min()
            assert rows.max() <= corners[:, 1].max() + 2


def test_depth_is_that_of_table_and_objects(renderer, some):
    """Nothing is behind the table's top where one looks at it, and objects stand on it."""
    columns, rows = np.meshgrid(np.arange(640) + 0.5, np.arange(240, 480) + 0.5)
    pixels = np.stack((columns.ravel(), rows.ravel()), 1)
    for rendered in some[:3]:
        camera = rendered.scene.camera
        depth = renderer.depth(rendered.scene)
        assert depth.dtype == np.float32 and depth.shape == rendered.labels.shape
        points = np.concatenate((camera.on_plane(pixels), np.zeros((len(pixels), 1))), 1)
        plane = ((points - camera.position()) @ camera.axes()[2]).reshape(columns.shape)
        x, y = rendered.scene.table.half_size
        reach = np.linalg.norm(points[:, :2], axis=1).reshape(columns.shape)
        on_table = reach < 0.9 * min(x, y)
        above = (plane - depth[240:])[on_table]
        labels = rendered.labels[240:][on_table]
        assert above.min() > -0.002
        assert np.median(np.abs(above[labels == 0])) < 0.002
        assert np.median(above[labels > 0]) > 0.01


def test_queries_name_exactly_the_visible_objects_that_serve(some):
    kinds = {task.name: task.kinds for task in TASKS}
    for rendered in some:
        for query in rendered.queries:
            serving = {i for i, o in enumerate(rendered.objects, 1) if o.kind in kinds[query.task]}
            assert set(query.objects) == serving
    assert any(not query.objects for rendered in some for query in rendered.queries)


def test_a_hidden_object_is_taken_out(renderer):
    scene = sample_scene(0, "train")
    box = replace(scene.objects[0], kind="box", shape="lidded", pose="upright", size=(1, 1, 1))
    ball = replace(box, kind="ball", shape="seamed", size=(0.5, 0.5, 0.5))
    assert len(renderer.render(replace(scene, objects=(ball,))).objects) == 1
    rendered = renderer.render(replace(scene, objects=(ball, box)))
    assert rendered.objects == (box,)
    assert set(np.unique(rendered.labels)) == {0, 1}


def test_the_view_starts_as_the_still_image_and_moves(renderer, some):
    for rendered in some[:3]:
        np.testing.assert_array_equal(renderer.view(rendered.scene, 0.0), rendered.image)
    scene = some[0].scene
    moved = renderer.view(scene, 2.0)
    assert np.mean(moved != some[0].image) > 0.2
    np.testing.assert_array_equal(renderer.view(scene, 2.0), moved)


def test_a_smaller_image_shows_the_same():
    with render.SceneRenderer(320, 240) as small:
        assert small.render(sample_scene(1, "train")).labels.shape == (240, 320)


def test_a_bad_size_is_named():
    with pytest.raises(ValueError, match="640x400"):
        render.SceneRenderer(640, 400)


def test_a_dataset_is_rendered_and_resumed(tmp_path, some):
    generate_dataset(tmp_path, 3, 1, "train", workers=1, progress=False)
    images = sorted((tmp_path / "images").iterdir())
    assert [path.stem for path in images] == ["000001", "000002", "000003"]
    record = json.loads((tmp_path / "scenes" / "000002.json").read_text())
    rendered = some[2]
    labels = cv2.imread(str(tmp_path / record["mask"]), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(labels, rendered.labels)
    image = cv2.imread(str(tmp_path / record["image"]))[..., ::-1]
    assert np.abs(image.astype(int) - rendered.image).mean() < 3
    assert [one["kind"] for one in record["objects"]] == [one.kind for one in rendered.objects]
    assert [one["area"] for one in record["objects"]] == list(np.bincount(labels.flat)[1:])
    assert record["queries"][0]["text"] == rendered.queries[0].text

    kept = images[0].stat().st_mtime_ns
    (tmp_path / "scenes" / "000002.json").unlink()
    images[1].unlink()
    generate_dataset(tmp_path, 4, 1, "train", workers=1, progress=False)
    assert images[0].stat().st_mtime_ns == kept
    assert images[1].exists()
    assert json.loads((tmp_path / "scenes" / "000002.json").read_text()) == record
    summary = json.loads((tmp_path / "dataset.json").read_text())
    assert (summary["seed"], summary["count"], summary["split"]) == (1, 4, "train")
    assert not list(tmp_path.rglob("*.partial"))


def test_another_split_is_refused(tmp_path):
    (tmp_path / "dataset.json").write_text('{"version": 1, "split": "val", "seed": 0, "count": 1}')
    with pytest.raises(ValueError, match=r"'val', not 'train'"):
        generate_dataset(tmp_path, 1, 0, "train", progress=False)


@pytest.mark.parametrize("seed", [0, 2, 40, 100])
def test_other_seeds_are_refused(tmp_path, seed):
    text = '{"version": 1, "split": "train", "seed": 1, "count": 40}\n'
    (tmp_path / "dataset.json").write_text(text)
    reason = rf"has seed 1, not {seed}; give another directory, .* larger count to add scenes"
    with pytest.raises(ValueError, match=reason):
        generate_dataset(tmp_path, 5, seed, "train", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.json"]
    assert (tmp_path / "dataset.json").read_text() == text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"count": 0}, "count 0"),
        ({"seed": -2}, "-2"),
        ({"split": "x"}, "'x'"),
        ({"workers": 0}, "workers 0"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_written(tmp_path, changed, message):
    arguments = {"out": tmp_path / "new", "count": 1, "seed": 0, "split": "train", "workers": 1}
    with pytest.raises(ValueError, match=message):
        generate_dataset(**arguments | changed)
    assert not (tmp_path / "new").exists()


def test_the_command_reports_what_it_rendered(tmp_path):
    report = scenes.run(scenes.Scenes(count=1, out=tmp_path, seed=7, split="uncommon", workers=1))
    assert report.pop("seconds") > 0
    assert report == {"out": str(tmp_path), "split": "uncommon", "seed": 7, "count": 1}
    assert (tmp_path / "images" / "000007.jpg").exists()

"""Batches of public data sets: what is drawn, from which parts, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from builders import tiny_model
from public_data import (
    coco_name,
    edit_json,
    labelme,
    rio_record,
    write_coco_tasks,
    write_image,
    write_json,
    write_reasonseg,
    write_rio,
)

from vltp_ros.data.entries import DataError
from vltp_ros.data.expressions import ExpressionImages
from vltp_ros.processes import Process
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.public_batches import ExpressionSource
from vltp_ros.training.stages import PrunedStage

pytest.importorskip("pycocotools", reason="pycocotools is missing: pip install '.[data]'")

SETTINGS = TrainConfig(steps=3, batch=4, tasks_per_image=2, warmup=1, rates=(0.5,), bfloat16=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    directory = tmp_path_factory.mktemp("root")
    write_rio(directory)
    write_coco_tasks(directory)
    write_reasonseg(directory)
    return directory


def images_of(root, *names, **options):
    return ExpressionImages(
        names, root, options.pop("part", "train"), option="--dataset", **options
    )


def test_an_image_that_two_data_sets_have_is_one_with_all_expressions(root):
    both = images_of(root, "rio-train", "coco-tasks-train")
    assert len(both) == len(images_of(root, "rio-train"))
    shared = next(
        image for image in map(both.__getitem__, range(len(both))) if len(image.texts) > 1
    )
    assert "you can use the thing to cut bread" in shared.texts and len(shared.texts) == 15
    assert both.identity != images_of(root, "rio-train").identity
    assert both.identity.startswith(f"{len(both)} images of rio-train, coco-tasks-train (")


def test_parts_follow_from_seed_and_step_and_processes_share_them(root):
    source = ExpressionSource(images_of(root, "rio-train", "coco-tasks-train"), SETTINGS)
    parts, again = source.parts(1), source.parts(1)
    assert [part.tasks for part in parts] == [part.tasks for part in again]
    assert len(parts) == 4 and parts[0].images.shape == (1, 3, 48, 64)
    assert all(part.masks.shape == (2, 48, 64) and len(part.tasks[0]) == 2 for part in parts)
    shared = [part for rank in range(2) for part in source.parts(1, Process(rank, 2))]
    assert all(torch.equal(a.images, b.images) for a, b in zip(parts, shared, strict=True))
    with pytest.raises(ValueError, match="--batch is 4; 3 processes need a multiple of 3"):
        source.parts(0, Process(0, 3))


def test_an_epoch_shows_every_image_once(root):
    data = images_of(root, "rio-train")
    source = ExpressionSource(data, SETTINGS)
    for epoch in range(2):
        positions = range(epoch * len(data), (epoch + 1) * len(data))
        assert sorted(source.number(position) for position in positions) == [*range(len(data))]
    assert [source.number(p) for p in range(9)] != [*range(9)]


def test_masks_are_those_of_the_expressions(root):
    data = images_of(root, "coco-tasks-train")
    settings = dataclasses.replace(SETTINGS, tasks_per_image=14, batch=1)
    (part,) = ExpressionSource(data, settings).parts(0)
    areas = dict(zip(part.tasks[0], part.masks.flatten(1).sum(1).tolist(), strict=True))
    assert areas["you can use the thing to step on something"] > 200
    assert sum(area > 0 for area in areas.values()) == 1


def test_a_large_image_is_scaled_down_and_its_masks_are_not(root, tmp_path):
    write_image(tmp_path / "reasonseg" / "train" / "a.jpg", (600, 2000))
    target = ("target", [[4, 4], [1400, 4], [1400, 500], [4, 500]])
    ignored = ("ignore", [[8, 8], [120, 8], [120, 12], [8, 12]])
    write_json(tmp_path / "reasonseg" / "train" / "a.json", labelme(target, ignored))
    source = ExpressionSource(images_of(tmp_path, "reasonseg-train"), SETTINGS)
    part = source.parts(0)[0]
    assert part.images.shape == (1, 3, 307, 1024) and part.masks.shape == (2, 600, 2000)
    assert part.ignored.sum() == 2 * 113 * 5 and not (part.ignored & part.masks).any()
    losses = PrunedStage(tiny_model(), SETTINGS)(part, 0)
    assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize(
    ("names", "options", "reason"),
    [
        (
            ["rio-common"],
            {},
            "--dataset is rio-common, which is for test; allowed: rio-train, coco",
        ),
        (["rio-val"], {}, "--dataset is rio-val, which is for val"),
        (["rio-train"], {"part": "val"}, "is for train; allowed: rio-val, reasonseg-val"),
        (["rio"], {}, "dataset is 'rio'; allowed"),
        (["rio-train", "rio-train"], {}, "rio-train rio-train; each once"),
        (["refcoco-train"], {}, "refcoco"),
    ],
)
def test_parts_never_mix(root, names, options, reason):
    with pytest.raises(ValueError, match=reason):
        images_of(root, *names, **options)


def test_images_that_are_trained_on_are_left_out(root):
    data = images_of(root, "rio-train")
    path = next(iter(data.paths))
    fewer = images_of(root, "rio-train", without={path})
    assert len(fewer) == len(data) - 1 and fewer.left_out == 1 and path not in fewer.paths
    with pytest.raises(ValueError, match="rio-train, whose images are all trained on"):
        images_of(root, "rio-train", without=data.paths)


def test_what_is_bad_ends_a_training_by_name_or_is_skipped(tmp_path):
    write_rio(tmp_path)
    outside = rio_record(2, masks=[[[0, 0, 90, 0, 90, 9]]])
    edit_json(tmp_path / "rio" / "train.json", lambda records: records.append(outside))
    with pytest.raises(DataError, match="entry 40: a polygon has a corner at"):
        images_of(tmp_path, "rio-train")
    data = images_of(tmp_path, "rio-train", skip_bad=True)
    (tmp_path / "coco" / "train2014" / coco_name("train2014", 3)).write_bytes(b"no picture")
    bad = next(i for i in range(len(data)) if "000003.jpg" in str(data._groups[i][0].image))
    number, image = data.readable(bad)
    assert number == (bad + 1) % len(data) and image.image.shape == (48, 64, 3)
    data.skip_bad = False
    with pytest.raises(DataError, match=r"000003\.jpg: the image cannot be decoded"):
        data.readable(bad)

"""Stored features: trainings from them, whatever ends the process that stores them."""

from __future__ import annotations

import dataclasses
import os
import resource
import shutil
import time
from contextlib import contextmanager
from threading import Thread

import numpy as np
import pytest
import torch
from builders import tiny_model
from public_data import write_coco_tasks, write_rio

from vltp_ros.data.expressions import ExpressionImages
from vltp_ros.training.cached_batches import CachedExpressionSource
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.feature_cache import FeatureCache
from vltp_ros.training.public_batches import ExpressionSource
from vltp_ros.training.stages import PrunedStage

pytest.importorskip("pycocotools", reason="pycocotools is missing: pip install '.[data]'")

SETTINGS = TrainConfig(steps=3, batch=4, tasks_per_image=2, warmup=1, rates=(0.5,), bfloat16=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    directory = tmp_path_factory.mktemp("root")
    write_rio(directory)
    write_coco_tasks(directory)
    return directory


@pytest.fixture(scope="module")
def images(root):
    return ExpressionImages(("rio-train", "coco-tasks-train"), root, "train")


@pytest.fixture(scope="module")
def tiny():
    return tiny_model()


def files(directory):
    """What a cache holds, by the names of its files."""
    arrays = {}
    for path in sorted(directory.glob("*.npz")):
        with np.load(path) as stored:
            arrays[path.name] = [stored["tokens"].astype(np.float32), stored["segs"]]
    return arrays


@contextmanager
def room_for(size: int):
    """Let no file grow beyond so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_stored_images_give_the_losses_of_computed_ones(tiny, images, tmp_path):
    cached = CachedExpressionSource(FeatureCache(tmp_path, tiny, images, 2), SETTINGS)
    cached.fill()
    source, stage = ExpressionSource(images, SETTINGS), PrunedStage(tiny, SETTINGS)
    for step in range(3):
        for part, stored in zip(source.parts(step), cached.parts(step), strict=True):
            assert stored.tasks == part.tasks and torch.equal(stored.masks, part.masks)
            assert stored.tokens.shape[0] == 1 and stored.segs.shape == (2, 1, 256)
            losses, expected = stage(stored, step), stage(part, step)
            for name in expected:
                assert losses[name].item() == pytest.approx(expected[name].item(), rel=0.01)


def test_processes_share_the_parts_and_the_work(tiny, images, tmp_path):
    caches = [FeatureCache(tmp_path, tiny, images, 2) for _ in range(2)]
    sources = [CachedExpressionSource(cache, SETTINGS) for cache in caches]
    threads = [Thread(target=source.fill, args=(n, 2)) for n, source in enumerate(sources)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files(tmp_path)) == 12 and not list(tmp_path.glob("*.part"))
    shared = [part.tasks for n, source in enumerate(sources) for part in source.parts(1, n, 2)]
    assert shared == [part.tasks for part in sources[0].parts(1)] and len(shared) == 4


def test_a_cache_of_something_else_is_refused_by_name(tiny, root, images, tmp_path):
    FeatureCache(tmp_path, tiny, images, 2)
    with pytest.raises(ValueError, match=r"cache\.json: after is 2; it is 3 now; give another"):
        FeatureCache(tmp_path, tiny, images, 3)
    with pytest.raises(ValueError, match=r"cache\.json: model is"):
        FeatureCache(tmp_path, tiny_model(seed=1), images, 2)
    fewer = ExpressionImages(("rio-train",), root, "train")
    with pytest.raises(ValueError, match=r"cache\.json: data is '\d+ images of rio-train, coco-"):
        FeatureCache(tmp_path, tiny, fewer, 2)
    (tmp_path / "cache.json").write_text("{")
    with pytest.raises(ValueError, match=r"cache\.json is damaged"):
        FeatureCache(tmp_path, tiny, images, 2)


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_file_is_named(tiny, images, tmp_path, damage):
    cache = FeatureCache(tmp_path, tiny, images, 2)
    before, path = cache[3], tmp_path / "000003.npz"
    content = path.read_bytes()
    half = len(content) // 2
    changed = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
    path.write_bytes({"cut": content[:half], "changed": changed, "empty": b""}[damage])
    with pytest.raises(ValueError, match=r"000003\.npz is damaged .* remove it"):
        cache[3]
    path.unlink()
    assert torch.allclose(cache[3].tokens, before.tokens)


def test_a_full_disk_is_said_by_name_and_leaves_nothing_half_written(tiny, images, tmp_path):
    cache = FeatureCache(tmp_path, tiny, images, 2)
    with pytest.raises(OSError, match="000000") as raised, room_for(1000):
        cache.fill(range(3), progress=False)
    assert raised.value.filename == str(tmp_path / "000000.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["cache.json"]
    cache.fill(range(3), progress=False)
    assert len(files(tmp_path)) == 3


def test_what_a_killed_process_left_is_removed_once_nobody_can_write_it(tiny, images, tmp_path):
    FeatureCache(tmp_path, tiny, images, 2)
    for name, age in (("old", 7200), ("new", 0)):
        (tmp_path / f"{name}.part").touch()
        os.utime(tmp_path / f"{name}.part", (time.time() - age,) * 2)
    FeatureCache(tmp_path, tiny, images, 2)
    assert [path.name for path in tmp_path.glob("*.part")] == ["new.part"]


def test_images_that_cannot_be_read_are_left_out_where_such_are_skipped(tiny, root, tmp_path):
    copy = shutil.copytree(root, tmp_path / "root")
    images = ExpressionImages(("rio-train",), copy, "train", skip_bad=True)
    sorted(images.paths)[0].write_bytes(b"no picture")
    cache = FeatureCache(tmp_path / "cache", tiny, images, 2)
    settings = dataclasses.replace(SETTINGS, steps=len(images))
    source = CachedExpressionSource(cache, settings)
    source.fill()
    assert len(files(cache.directory)) == len(images) - 1
    parts = [part for step in range(settings.steps) for part in source.parts(step)]
    assert len(parts) == 4 * len(images)

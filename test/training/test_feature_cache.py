"""Stored features: trainings from them, whatever ends the process that stores them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from builders import room_for, tiny_model

from vltp_ros.checkpoints.model_directory import load_model
from vltp_ros.cli.main import main
from vltp_ros.cli.train import Train
from vltp_ros.cli.train import run as train
from vltp_ros.data.expressions import ExpressionImages
from vltp_ros.processes import Process
from vltp_ros.training.cached_batches import CachedExpressionSource
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.feature_cache import FeatureCache
from vltp_ros.training.public_batches import ExpressionSource
from vltp_ros.training.stages import PrunedStage

pytest.importorskip("pycocotools", reason="pycocotools is missing: pip install '.[data]'")

SETTINGS = TrainConfig(steps=3, batch=4, tasks_per_image=2, warmup=1, rates=(0.5,), bfloat16=False)


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


def weights(directory):
    return load_model(directory).state_dict()


def assert_close(ours, theirs, atol):
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=atol, msg=name)


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
    processes = [Process(rank, 2) for rank in range(2)]
    threads = [
        Thread(target=source.fill, args=(process,))
        for source, process in zip(sources, processes, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files(tmp_path)) == 12 and not list(tmp_path.glob("*.part"))
    shared = [part.tasks for process in processes for part in sources[1].parts(1, process)]
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


def command(root, base, directory):
    """A training from stored features, as one types it."""
    return [
        "train", "--stage", "prune", "--dataset", "rio-train", "coco-tasks-train",
        "--data", str(root), "--init", str(base), "--run", str(directory / "run"),
        "--out", str(directory / "out"), "--cache", str(directory / "cache"),
        "--steps", "2", "--batch", "20", "--tasks-per-image", "1", "--optimiser", "adamw",
        "--no-bfloat16", "--device", "cpu",
    ]  # fmt: skip


@pytest.mark.slow  # starts a process
def test_a_process_that_is_killed_while_it_stores_goes_on(root, base, tmp_path):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert main(command(root, base, straight)) == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "vltp_ros.cli.main", *command(root, base, killed)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while len(list((killed / "cache").glob("*.npz"))) < 2:
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 2 <= len(files(killed / "cache")) < 39 and not (killed / "run").exists()
    assert main(command(root, base, killed)) == 0
    ours, theirs = files(killed / "cache"), files(straight / "cache")
    assert ours.keys() == theirs.keys() and len(ours) == 39
    for name, arrays in ours.items():
        for one, other in zip(arrays, theirs[name], strict=True):
            np.testing.assert_allclose(one, other, atol=0.01)
    assert_close(weights(killed / "out"), weights(straight / "out"), atol=0.005)


def test_the_command_trains_as_without_a_cache(root, base, tmp_path):
    settings = dataclasses.replace(SETTINGS, optimiser="adamw", learning_rate=1e-4)
    losses = []
    for name, cache in (("computed", None), ("stored", tmp_path / "cache")):
        arguments = ("prune", root, tmp_path / name, tmp_path / f"{name} model", base, settings)
        train(Train(*arguments, dataset=("rio-train",), cache=cache))
        lines = (tmp_path / name / "losses.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    assert_close(weights(tmp_path / "stored model"), weights(tmp_path / "computed model"), 1e-3)


def test_scenes_are_stored_by_the_command_too(crowded, base, tmp_path):
    settings = dataclasses.replace(SETTINGS, batch=2)
    args = Train("prune", crowded.directory, tmp_path / "run", tmp_path / "out", base, settings)
    train(dataclasses.replace(args, cache=tmp_path / "cache"))
    assert len(files(tmp_path / "cache")) == 4
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(ValueError, match=r"--cache is not given; .* was begun with given"):
        train(args)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stage": "attention"}, "--cache is x; it is for --stage prune"),
        ({"edition": 1}, "--cache is x and .* has edition 1"),
        ({"config": dataclasses.replace(SETTINGS, batch=2, cut_share=0.5)}, "--cut-share is 0.5;"),
    ],
)
def test_a_cache_without_effect_is_refused(
    crowded, data, base, tmp_path, monkeypatch, changes, reason
):
    monkeypatch.chdir(tmp_path)  # where "x" is made
    data = {1: data, 2: crowded}[changes.pop("edition", 2)].directory
    given = {"stage": "prune", "config": dataclasses.replace(SETTINGS, batch=2), **changes}
    directories = {"run": tmp_path / "run", "out": tmp_path / "out", "cache": Path("x")}
    with pytest.raises(ValueError, match=reason):
        train(Train(data=data, init=base, **directories, **given))
    assert not (tmp_path / "run").exists()

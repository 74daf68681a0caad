"""`vltp segment` on what people have: pictures, folders, videos, standard input."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import imageio.v2 as imageio
import numpy as np
import pytest
from builders import PROVENANCE, tiny_model
from PIL import Image

from vltp_ros.checkpoints.model_directory import save_model
from vltp_ros.cli.main import main
from vltp_ros.cli.options import ModelOptions
from vltp_ros.imaging.sources import find_sources

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "table.jpg"
    Image.fromarray(PIXELS).save(path)
    return path


@pytest.fixture
def segment(model, tmp_path, capsys):
    """Runs the command; returns its status, and its JSON or what it complains of."""

    def run(*arguments, task="cut bread"):
        command = ["segment", *map(str, arguments), "--task", task, "--model", model, "--json"]
        status = main([*command, "--out", str(tmp_path / "out")])
        printed = capsys.readouterr()
        return status, json.loads(printed.out) if printed.out else printed.err

    return run


def names(answer: dict) -> list[str]:
    return [Path(result["source"]).name for result in answer["results"]]


def test_segment_writes_masks_and_overlays(segment, photo):
    status, answer = segment(photo, "--task", "drink")
    assert (status, answer["model"], answer["failed"]) == (0, "tiny", {})
    assert [r["task"] for r in answer["results"]] == ["drink", "cut bread"]
    for r in answer["results"]:
        mask = np.asarray(Image.open(r["mask_path"]))
        overlay = Image.open(r["overlay_path"])
        assert mask.shape == (60, 80) and overlay.size == (80, 60)
        assert set(np.unique(mask)) <= {0, 255} and (mask == 255).sum() == r["area"]
        assert r["found"] == (r["area"] > 0) == bool(r["instances"])
        assert sum(instance["area"] for instance in r["instances"]) <= r["area"]
        for instance in r["instances"]:
            x, y, width, height = instance["box"]
            part = mask[y : y + height, x : x + width]
            assert part.shape == (height, width) and (part == 255).sum() >= instance["area"]
        assert r["times_ms"].keys() >= {"reasoner", "stem", "mask decoder"}
        assert r["rates"] == [0.5, 0.5] and len(r["kept_tokens"]) == 2 < r["total_tokens"]


def test_words_that_the_model_never_saw_are_named(photo, tmp_path, capsys, caplog):
    """In the log once for each task, and in the JSON of each answer."""
    model = tiny_model()
    model.config = dataclasses.replace(model.config, words="bread cut")
    save_model(model, tmp_path / "model", PROVENANCE)
    command = ["segment", str(photo), str(photo), "--task", "cut bread", "--task", "asdf qwer"]
    options = ["--model", str(tmp_path / "model"), "--out", str(tmp_path), "--json"]
    assert main([*command, *options]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [r["unseen_words"] for r in results[:2]] == [[], ["asdf", "qwer"]]
    said = [r.message for r in caplog.records if r.levelname == "WARNING"]
    doubt = "the model saw no 'asdf', 'qwer' in training; its answer may be wrong"
    assert said == [f"task 'asdf qwer': {doubt}"]


def test_more_pictures_on_request(segment, photo):
    _, answer = segment(photo, "--probability", "--kept")
    (result,) = answer["results"]
    probability, kept = (
        np.asarray(Image.open(result[f"{name}_path"])) for name in ("probability", "kept")
    )
    assert probability.shape == kept.shape == (60, 80)
    assert {0, 255} <= set(np.unique(kept)) <= {0, 128, 255}


def test_no_answer_overwrites_another(segment, photo, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    paths = [photo, tmp_path / "table.png", other / "table.jpg"]
    for path in paths[1:]:
        Image.fromarray(PIXELS).save(path)
    written = []
    for task in ("cut bread", "Cut bread!"):
        for path in paths:
            (result,) = segment(path, task=task)[1]["results"]
            written += [result["mask_path"], result["overlay_path"]]
    assert len(set(written)) == 12 and all(Path(path).exists() for path in written)
    # The number of tasks and the way to the picture do not matter.
    again = segment(*paths, "--task", "Cut bread!")[1]["results"]
    assert {result["mask_path"] for result in again} == {path for path in written if "mask" in path}


def test_folders_patterns_and_several_pictures_take_one_load(segment, tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("b.png", "a.JPG", "c.webp"):
        Image.fromarray(PIXELS).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    loads = []
    load = ModelOptions.load
    monkeypatch.setattr(ModelOptions, "load", lambda *a: loads.append(1) or load(*a))
    assert names(segment(folder)[1]) == ["a.JPG", "b.png", "c.webp"]
    assert names(segment(folder / "b.png", folder / "*.JPG", folder)[1]) == [
        "b.png",
        "a.JPG",
        "c.webp",
    ]
    assert len(loads) == 2


def test_one_bad_picture_of_several_costs_itself(segment, photo, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    status, answer = segment(bad, photo)
    assert status == 1 and names(answer) == ["table.jpg"]
    assert "bad.jpg is not a picture" in answer["failed"][str(bad)]
    status, words = segment(bad)
    assert status == 2 and "allowed: JPEG, PNG" in words and "HEIC" in words


def test_every_page_of_a_picture(segment, tmp_path):
    path = tmp_path / "scan.tif"
    pages = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    answer = segment(path)[1]
    assert [result["frame"] for result in answer["results"]] == [0, 1]
    assert len({result["mask_path"] for result in answer["results"]}) == 2
    assert [result["frame"] for result in segment(path, "--frames", 1)[1]["results"]] == [0]


def test_a_video_gives_masks_and_a_video(segment, tmp_path):
    path = tmp_path / "clip.mp4"
    with imageio.get_writer(path, fps=5, macro_block_size=2) as video:
        for _ in range(4):
            video.append_data(PIXELS)
    answer = segment(path, "--frames", 3)[1]
    assert [result["frame"] for result in answer["results"]] == [0, 1, 2]
    assert len({result["mask_path"] for result in answer["results"]}) == 3
    (overlay,) = {result["overlay_path"] for result in answer["results"]}
    with imageio.get_reader(overlay) as video:
        assert (video.count_frames(), video.get_meta_data()["fps"]) == (3, 5)
    path.write_bytes(path.read_bytes()[:100])
    assert "clip.mp4 is not a video" in segment(path)[1]


def test_a_picture_on_standard_input(segment, photo, monkeypatch):
    data = io.BytesIO(photo.read_bytes())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=data))
    answer = segment("-")[1]
    assert names(answer) == ["-"] and Path(answer["results"][0]["mask_path"]).exists()


class Webcam:
    """Stands in for OpenCV's: no machine of ours has one."""

    def __init__(self, number: int) -> None:
        self.number = number

    def read(self):
        return self.number == 0, PIXELS

    def release(self) -> None: ...


def test_a_webcam(segment, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Webcam)
    assert len(segment("camera:0")[1]["results"]) == 1
    assert len(segment("camera:0", "--frames", 3)[1]["results"]) == 3
    assert "camera:1 gives no picture" in segment("camera:1")[1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("camera:front", "camera: and a number"),
        ("none.png", "none.png does not exist"),
        ("*.nothing", "does not exist"),
        (".", "without pictures"),
    ],
)
def test_names_that_stand_for_nothing(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words):
        find_sources([name])


def test_options_that_do_not_belong_together(segment, photo, tmp_path):
    assert "table.jpg is no bag" in segment(photo, "--image-topic", "/camera")[1]
    assert "--frames is 0" in segment(photo, "--frames", 0)[1]
    bag = tmp_path / "bag"
    bag.mkdir()
    (bag / "metadata.yaml").write_text("")
    assert "is segmented alone" in segment(bag, photo)[1]
    assert "--kept has no effect on a bag" in segment(bag, "--kept")[1]


def test_heic(segment, tmp_path):
    pytest.importorskip("pillow_heif", reason="pillow-heif is missing: pip install pillow-heif")
    path = tmp_path / "phone.heic"
    from pillow_heif import from_pillow

    from_pillow(Image.fromarray(PIXELS)).save(path)
    assert names(segment(path)[1]) == ["phone.heic"]

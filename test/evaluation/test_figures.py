"""The figures on scenes, with a small random model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from builders import SMALL, tiny_model
from PIL import Image
from public_data import write_coco_tasks, write_rio

from vltp_ros.checkpoints.model_directory import save_model
from vltp_ros.cli.main import main
from vltp_ros.data.registry import load_dataset
from vltp_ros.data.samples import Sample
from vltp_ros.evaluation.drawing import EDGE, GAP, PANEL_WIDTH
from vltp_ros.evaluation.figures import (
    LEFT,
    TOP,
    draw_figures,
    draw_picture,
    every_stage,
    light_patches,
    served_entries,
    served_scenes,
)
from vltp_ros.evaluation.results_sheet import HEAD, LINE, draw_results
from vltp_ros.imaging.pictures import read_picture
from vltp_ros.network.config import SAM_ENCODERS
from vltp_ros.runtime.session import Session
from vltp_ros.runtime.settings import InferenceSettings


@pytest.fixture(scope="module")
def session():
    return Session(tiny_model(), torch.device("cpu"))


@pytest.fixture(scope="module")
def scenes():
    return served_scenes(2, "test")


def test_two_figures_for_each_scene_and_one_for_all(session, scenes, tmp_path):
    paths = draw_figures(session, tmp_path, scenes, progress=False)
    names = ["figure4_1.png", "figure4_2.png", "figure5_1.png", "figure5_2.png", "figure6.png"]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert all(10_000 < path.stat().st_size < 400_000 for path in paths)
    (width, height), (low_width, low_height) = (Image.open(paths[n]).size for n in (0, 2))
    assert width == low_width > 5 * PANEL_WIDTH  # the small encoder prunes everywhere already
    panel = PANEL_WIDTH * 3 // 4
    assert height > 4 * panel and panel < low_height < 2 * panel


def test_figure_6_shows_the_truth_and_answers_beside_the_image(session, scenes):
    plain = np.full((90, 160, 3), 128, np.uint8)
    truth = np.zeros((90, 160), bool)
    truth[:, :80] = True
    sheet = draw_results(session, [Sample(plain, "cut bread", truth), scenes[0]])
    x, y = EDGE + PANEL_WIDTH + GAP, HEAD + LINE  # of the first truth
    height = PANEL_WIDTH * 90 // 160
    panel = sheet[y : y + height, x : x + PANEL_WIDTH].astype(int)
    changed = np.abs(panel - 128).max(-1) > 20
    assert changed[20:-20, 10:80].all() and not changed[20:-20, 110:-10].any()
    image = sheet[y : y + height, EDGE : EDGE + PANEL_WIDTH]
    assert (image == 128).all()
    assert sheet.shape[0] > 2 * LINE + height + PANEL_WIDTH * 3 // 4


def test_only_stages_and_rates_are_replaced(scenes, tmp_path):
    session = Session(tiny_model(), torch.device("cpu"), InferenceSettings(csp="65", threshold=0.4))
    draw_figures(session, tmp_path, scenes[:1], progress=False)
    assert (session.settings.csp, session.settings.threshold) == ("65", 0.4)


def test_the_same_seed_draws_the_same(session, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        samples = served_scenes(1, "test", seed)
        draw_figures(session, tmp_path / name, samples, progress=False)
    a, b, c = (read_picture(tmp_path / name / "figure4_1.png").astype(int) for name in "abc")
    assert (a != b).mean() < 0.05  # of two tokens that rank alike either may be kept
    assert (a != c).mean() > 0.1


def test_a_kept_patch_is_brighter_than_a_dropped_one():
    image = np.full((480, 640, 3), 200, np.uint8)
    patches = np.zeros((8, 10), bool)  # 480 rows are seven and a half patches
    patches[7, 2] = patches[0, 0] = True
    lit = light_patches(image, patches, SMALL)
    assert lit.shape == (144, PANEL_WIDTH, 3)
    side = PANEL_WIDTH / 10
    centres = (np.array([[0.5, 0.5], [7.25, 2.5], [6.9, 2.5], [7.25, 3.1]]) * side).astype(int)
    first, last, above, right = lit[tuple(centres.T)].mean(1)
    assert first == last == 200 and above == right < 50
    share = (lit[..., 0] == 200).mean()
    assert share == pytest.approx(1.5 / 75, abs=0.003)  # a whole patch and half of one


def test_figure_5_prunes_at_every_global_layer_below_the_last():
    assert every_stage(SAM_ENCODERS["tabletop"]) == (2, 4, 6)
    assert every_stage(SAM_ENCODERS["vit_h"]) == (8, 16, 24)
    assert every_stage(SMALL) == (2, 3)


def test_the_command_lists_its_files(tmp_path, capsys):
    save_model(tiny_model(), tmp_path / "model", {"licence": "Apache-2.0", "sources": []})
    model, out = str(tmp_path / "model"), str(tmp_path / "out")
    assert main(["figures", "--model", model, "--out", out, "--count", "1", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert files == [f"{out}/{name}.png" for name in ("figure4_1", "figure5_1", "figure6")]
    assert main(["figures", "--model", model, "--count", "0"]) == 2
    assert "count is 0" in capsys.readouterr().err


def test_data_sets_are_drawn_as_scenes_are(session, tmp_path):
    pytest.importorskip("pycocotools", reason="pycocotools is missing: pip install '.[data]'")
    write_rio(tmp_path)
    write_coco_tasks(tmp_path)
    datasets = [load_dataset(name, tmp_path) for name in ("rio-common", "coco-tasks-test")]
    (first, second) = served_entries(datasets, 1)
    assert first.mask.any() and second.mask.any() and "you can use the thing" in second.text
    paths = draw_figures(session, tmp_path / "out", [first, second], progress=False)
    assert len(paths) == 5
    with pytest.raises(ValueError, match=r"coco-tasks-test has \d+ expressions that are served"):
        served_entries(datasets, 2)


def test_a_picture_of_ones_own(session, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    sheet = draw_picture(session, image, "cut bread", (0.0, 0.5))
    assert sheet.shape[1] > 4 * PANEL_WIDTH
    panels = [_panel(sheet, row, 1) for row in (0, 1)]  # kept after the first stage
    assert panels[0].mean() > 1.3 * panels[1].mean()  # dense: all of it is lit


def _panel(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    height = PANEL_WIDTH * 90 // 160
    top, left = TOP + row * (height + GAP), LEFT + column * (PANEL_WIDTH + GAP)
    return sheet[top : top + height, left : left + PANEL_WIDTH]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--task", "cut"), "--task is given without --image"),
        (("--image", "a.png"), "--image is given without --task"),
        (("--dataset", "rio-common"), "--dataset is given without --data"),
        (("--data", "root"), "--data is given without --dataset"),
        (
            ("--image", "a", "--task", "b", "--data", "c", "--dataset", "rio-common"),
            "--dataset is rio-common; it has no effect with --image",
        ),
        (("--rates", "0.5"), "only with --image and --task"),
        (("--image", "none.png", "--task", "cut"), "none.png does not exist"),
    ],
)
def test_options_that_do_not_belong_together(options, words, capsys):
    assert main(["figures", *options]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"count": 0}, "count is 0"),
        ({"count": -3}, "count is -3"),
        ({"count": 1, "split": "moon"}, "moon"),
        ({"count": 1, "seed": -1}, "seed -1"),
    ],
)
def test_bad_requests_are_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        served_scenes(**{"split": "test", **arguments})

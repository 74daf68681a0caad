"""`vltp data check` on data sets that are right, bad, or not there."""

from __future__ import annotations

import json

import pytest
from public_data import (
    WIDTH,
    coco_name,
    edit_json,
    write_coco_tasks,
    write_image,
    write_reasonseg,
    write_refcoco,
    write_rio,
)

from vltp_ros.cli.main import main


def check(capsys, root, *names: str) -> tuple[int, list[dict]]:
    arguments = ["data", "check", str(root), "--json", *(("--dataset", *names) if names else ())]
    status = main(arguments)
    return status, json.loads(capsys.readouterr().out)["rows"]


def test_what_is_right_is_counted(tmp_path, capsys):
    for write in (write_rio, write_coco_tasks, write_reasonseg, write_refcoco):
        write(tmp_path)
    names = ("rio-common", "coco-tasks-test", "reasonseg-train", "refcoco-testA")
    status, rows = check(capsys, tmp_path, *names)
    keys = ("dataset", "images", "expressions", "tasks", "empty")
    assert [tuple(row[key] for key in keys) for row in rows] == [
        ("rio-common", 2, 2, 2, 0),
        ("coco-tasks-test", 2, 28, 14, 27),
        ("reasonseg-train", 1, 2, 0, 0),
        ("refcoco-testA", 1, 2, 0, 0),
    ]
    assert status == 0 and not any(row["bad"] or row["missing"] for row in rows)


def test_what_is_missing_is_named_with_its_publisher(tmp_path, capsys):
    write_rio(tmp_path)
    for image_id in range(1, 41, 2):
        (tmp_path / "coco" / "train2014" / coco_name("train2014", image_id)).unlink()
    status, (train, val, tasks) = check(capsys, tmp_path, "rio-train", "rio-val", "coco-tasks-test")
    assert status == 1 and len(train["missing"]) + len(val["missing"]) == 20
    assert all("the image does not exist" in line for line in train["missing"])
    assert "task_1_test.json: does not exist" in tasks["missing"][0] and tasks["images"] == 0
    assert "https://github.com/coco-tasks/dataset" in tasks["publisher"]
    assert main(["data", "check", str(tmp_path), "--dataset", "rio-train"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "https://github.com/qumengxue/RIO" in lines[-2]
    assert any(line.endswith("more missing; --json has all") for line in lines)
    status, rows = check(capsys, tmp_path)
    assert len(rows) > 15 and status == 1


def test_bad_images_and_polygons_are_named(tmp_path, capsys):
    write_rio(tmp_path)
    folder = tmp_path / "coco" / "val2014"
    write_image(folder / coco_name("val2014", 101), (48, WIDTH - 1))
    path = folder / coco_name("val2014", 102)
    path.write_bytes(path.read_bytes()[:600])
    far = [[[4, 4, WIDTH + 9, 4, 14, 14]]]
    edit_json(tmp_path / "rio" / "test_uncommon.json", lambda r: r[0].update(mask_list=far))
    status, (common, uncommon) = check(capsys, tmp_path, "rio-common", "rio-uncommon")
    assert status == 1 and common["expressions"] == 0
    turned, cut = common["bad"]
    assert "000000000101.jpg: has 63 x 48 pixels" in turned and "entry 0 states 64 x 48" in turned
    assert "000000000102.jpg: the image cannot be decoded" in cut
    (outside,) = uncommon["bad"]
    assert "test_uncommon.json, entry 0: a polygon has a corner at (73, 4)" in outside


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["data", "check", "{root}", "--dataset", "rio"], "dataset is 'rio'; allowed: rio-train"),
        (["data", "check", "{root}/none"], "none is no folder"),
    ],
)
def test_bad_requests_are_one_line(arguments, reason, tmp_path, capsys):
    assert main([argument.format(root=tmp_path) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert reason in captured.err and captured.err.count("\n") == 1

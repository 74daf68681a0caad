"""Public data sets, in their own formats, made small: masks, splits, and what is refused."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from public_data import (
    HEIGHT,
    WIDTH,
    coco_name,
    edit_json,
    labelme,
    rio_record,
    write_coco_tasks,
    write_json,
    write_reasonseg,
    write_refcoco,
    write_rio,
)

from vltp_ros.data.coco_tasks import TASKS
from vltp_ros.data.entries import DataError
from vltp_ros.data.registry import DATASETS, load_dataset, read_dataset

pytest.importorskip("pycocotools", reason="pycocotools is missing: pip install '.[data]'")


def columns_and_rows(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0], columns[-1], rows[0], rows[-1]


def test_rio_joins_all_instances(tmp_path):
    write_rio(tmp_path)
    dataset = load_dataset("rio-common", tmp_path)
    assert [entry.text for entry in dataset.entries] == [
        "you can use the thing to cut bread",
        "you can use the thing to drink",
    ]
    assert dataset.tasks == ("7", "8")
    both, square = (entry.sample() for entry in dataset.entries)
    assert both.image.shape == (HEIGHT, WIDTH, 3) and both.image_id == "101" and both.task == "7"
    assert square.mask.sum() == 100 and columns_and_rows(square.mask) == (4, 13, 4, 13)
    assert both.mask[square.mask].all() and both.mask.sum() == pytest.approx(300, abs=20)
    assert len(load_dataset("rio-uncommon", tmp_path).entries) == 2
    texts = {"expressions": ["to drink", "to pour"]}
    edit_json(tmp_path / "rio" / "test_uncommon.json", lambda records: records[0].update(texts))
    entries = load_dataset("rio-uncommon", tmp_path).entries
    assert [entry.text for entry in entries][:2] == texts["expressions"]


def test_rios_validation_is_cut_from_its_training_by_image(tmp_path):
    write_rio(tmp_path)
    records = [rio_record(image_id, task) for image_id in range(1, 41) for task in (1, 2)]
    write_json(tmp_path / "rio" / "train.json", records)
    train, val = (
        [entry.image_id for entry in load_dataset(f"rio-{split}", tmp_path).entries]
        for split in ("train", "val")
    )
    assert len(train) + len(val) == 80 and not set(train) & set(val)
    assert 1 <= len(set(val)) <= 6
    write_json(tmp_path / "rio" / "train.json", records[::-1])
    assert {e.image_id for e in load_dataset("rio-val", tmp_path).entries} == set(val)


def test_coco_tasks_joins_what_is_preferred_and_knows_empty_answers(tmp_path):
    write_coco_tasks(tmp_path)
    dataset = load_dataset("coco-tasks-test", tmp_path)
    assert len(dataset.entries) == 28 and dataset.tasks == TASKS
    assert sum(entry.truth.is_empty for entry in dataset.entries) == 27
    first, second = (entry.sample() for entry in dataset.entries[:2])
    assert first.text == "you can use the thing to step on something"
    assert first.mask.sum() == pytest.approx(300, abs=20) and first.mask[5, 5]
    assert second.mask.shape == (HEIGHT, WIDTH) and not second.mask.any()


def test_reasonseg_ignores_regions_and_reads_both_encodings(tmp_path):
    write_reasonseg(tmp_path)
    (entry,) = load_dataset("reasonseg-test", tmp_path).entries
    sample = entry.sample()
    assert (sample.text, sample.image_id) == ("cut", "test_1")
    assert sample.ignored.sum() == 25 and sample.mask.sum() == 121 - 25
    assert not (sample.mask & sample.ignored).any()
    texts = [entry.text for entry in load_dataset("reasonseg-train", tmp_path).entries]
    assert texts == ["cut", "slice"]
    path = tmp_path / "reasonseg" / "val" / "val_1.json"
    content = labelme(("target", [[4, 4], [14, 4], [14, 14]]), text="where\u2019s a café?")
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode("cp1252"))
    assert load_dataset("reasonseg-val", tmp_path).entries[0].text == "where\u2019s a café?"


@pytest.mark.parametrize("pickled", [False, True])
def test_phrases_of_refcoco(pickled, tmp_path):
    refs = write_refcoco(tmp_path)
    if pickled:
        (tmp_path / "refcoco" / "refs(unc).json").unlink()
        (tmp_path / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    for split in ("train", "val", "testA", "testB"):
        entries = load_dataset(f"refcoco-{split}", tmp_path).entries
        assert [entry.text for entry in entries] == ["left cup", "cup by the plate"]
        assert entries[0].sample().mask.sum() == 100


def test_a_pickle_that_names_code_is_not_run(tmp_path):
    refs = write_refcoco(tmp_path)
    pickled = pickle.dumps([OrderedDict(ref) for ref in refs], protocol=2)
    (tmp_path / "refcoco" / "refs(unc).p").write_bytes(pickled)
    with pytest.raises(DataError, match=r"refs\(unc\).p: is no pickle .* collections.OrderedDict"):
        load_dataset("refcoco-val", tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"expressions": " "}, "entry 1: the expression is ' '; it must be a sentence"),
        ({"expressions": "cut\x1b[2J"}, "entry 1: .* must not hold control characters"),
        ({"mask_list": [[[4, 4, 80, 4, 80, 20]]]}, r"entry 1: .* corner at \(80, 4\), outside"),
        ({"mask_list": [[[4, 4, 8, 8]]]}, "entry 1: a polygon has 2 corners"),
        ({"mask_list": [["a", "b"]]}, "entry 1: a polygon is no list of pairs of numbers"),
        ({"mask_list": None}, "entry 1: instances are None; they must be a list"),
        ({"mask_list": [[]]}, r"entry 1: a segmentation is \[\]"),
        ({"height": "tall"}, "entry 1: height and width are 'tall' and 64"),
        ({"image_id": 77}, "000000000077.jpg: the image does not exist"),
        ({"task_id": None, "height": HEIGHT + 1}, "has 64 x 48 pixels; .* states 64 x 49"),
    ],
)
def test_a_bad_entry_is_named_and_left_out_on_request_only(change, reason, tmp_path):
    write_rio(tmp_path)
    edit_json(tmp_path / "rio" / "test_common.json", lambda records: records[1].update(change))
    if "pixels" in reason:  # known once the image is read
        entry = load_dataset("rio-common", tmp_path).entries[1]
        with pytest.raises(DataError, match=reason):
            entry.sample()
        return
    with pytest.raises(DataError, match=reason):
        load_dataset("rio-common", tmp_path)
    dataset = load_dataset("rio-common", tmp_path, skip_bad=True)
    assert len(dataset.entries) == dataset.left_out == len(dataset.problems) == 1


def test_an_image_in_two_splits_is_refused(tmp_path):
    write_refcoco(tmp_path)
    path = tmp_path / "refcoco" / "refs(unc).json"
    edit_json(path, lambda refs: refs[2].update(image_id=1))
    with pytest.raises(DataError, match="entry 2: image 1 is in refcoco-train, too"):
        load_dataset("refcoco-testA", tmp_path)
    assert len(load_dataset("refcoco-testB", tmp_path).entries) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"category_id": 3}, "annotation 2: category_id is 3; allowed: 0 and 1"),
        ({"image_id": 9}, "annotation 2: image_id is 9, which no image has"),
    ],
)
def test_annotations_without_a_category_or_an_image(change, reason, tmp_path):
    write_coco_tasks(tmp_path)
    path = tmp_path / "coco-tasks" / "annotations" / "task_4_test.json"
    edit_json(path, lambda content: content["annotations"][1].update(change))
    with pytest.raises(DataError, match=f"task_4_test.json, {reason}"):
        load_dataset("coco-tasks-test", tmp_path)


def test_phrases_of_a_category_that_does_not_exist(tmp_path):
    write_refcoco(tmp_path)
    path = tmp_path / "refcoco" / "refs(unc).json"
    edit_json(path, lambda refs: refs[1].update(category_id=6))
    with pytest.raises(DataError, match="entry 1: category_id is 6, which instances"):
        load_dataset("refcoco-val", tmp_path)


def test_labels_that_reasonseg_does_not_have(tmp_path):
    write_reasonseg(tmp_path)
    content = labelme(("thing", [[4, 4], [14, 4], [14, 14]]))
    write_json(tmp_path / "reasonseg" / "val" / "val_1.json", content)
    with pytest.raises(DataError, match=r"val_1.json: label is 'thing'; allowed: target, ignore"):
        load_dataset("reasonseg-val", tmp_path)


def test_files_that_are_missing_or_broken_cannot_be_left_out(tmp_path):
    write_coco_tasks(tmp_path)
    folder = tmp_path / "coco-tasks" / "annotations"
    (folder / "task_9_test.json").unlink()
    with pytest.raises(DataError, match=r"task_9_test.json: does not exist") as caught:
        load_dataset("coco-tasks-test", tmp_path, skip_bad=True)
    assert caught.value.missing
    (folder / "task_9_test.json").write_text('{"images": [1], "annotations": []}')
    with pytest.raises(DataError, match=r"task_9_test.json: is not in COCO's format"):
        load_dataset("coco-tasks-test", tmp_path, skip_bad=True)
    (folder / "task_9_test.json").write_text('{"images": [')
    with pytest.raises(DataError, match=r"task_9_test.json: is no JSON"):
        load_dataset("coco-tasks-test", tmp_path, skip_bad=True)
    with pytest.raises(DataError, match=r"\*common\*.json: no file for common"):
        load_dataset("rio-common", tmp_path)
    with pytest.raises(ValueError, match=r"dataset is 'rio'; allowed: rio-train, rio-val"):
        load_dataset("rio", tmp_path)


def test_a_truncated_image_is_named_when_it_is_read(tmp_path):
    write_rio(tmp_path)
    path = tmp_path / "coco" / "val2014" / coco_name("val2014", 102)
    path.write_bytes(path.read_bytes()[:600])
    entry = read_dataset("rio-common", tmp_path).entries[1]
    with pytest.raises(DataError, match=r"000000000102.jpg: the image cannot be decoded"):
        entry.sample()


def test_digests_tell_annotations_apart(tmp_path):
    write_rio(tmp_path)
    before = load_dataset("rio-common", tmp_path).digest
    assert len(before) == 64 and before == load_dataset("rio-common", tmp_path).digest
    edit_json(tmp_path / "rio" / "test_common.json", lambda records: records.pop())
    assert load_dataset("rio-common", tmp_path).digest != before


def test_every_name_says_who_publishes_it():
    assert {"rio-common", "coco-tasks-test", "reasonseg-val", "refcoco+-testB"} <= DATASETS.keys()
    assert all("https://" in reader.publisher for reader, _ in DATASETS.values())

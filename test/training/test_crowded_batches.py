"""Batches of crowded scenes: what is asked about a picture is true of it, cut or mirrored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vltp_ros.data.scenes import TabletopDataset
from vltp_ros.network.preprocessing import to_llava_frame
from vltp_ros.simulation.crowded.forms import KINDS
from vltp_ros.simulation.crowded.ladders import LADDERS
from vltp_ros.simulation.crowded.tasks import TASKS
from vltp_ros.training.attributes import ATTRIBUTES, LOOKS, coverage
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.crowded_batches import (
    CUT_SIDE,
    CrowdedSource,
    View,
    augmented,
    cut_view,
    draw_names,
    draw_queries,
    mirrored_task,
    whole,
)


def config(**changes) -> TrainConfig:
    return TrainConfig(**{"steps": 4, "batch": 1, "tasks_per_image": 2, **changes})


def test_batches_follow_from_seed_and_step(crowded):
    settings = config(further_tasks=3)
    one, same, other = (CrowdedSource(crowded, settings).batch(step) for step in (3, 3, 2))
    assert torch.equal(one.images, same.images) and one.tasks == same.tasks
    assert one.images.shape != other.images.shape or not torch.equal(one.images, other.images)
    assert len(one.tasks[0]) == 2 and len(one.further[0]) == 3
    assert one.serving.shape == (5, len(ATTRIBUTES)) and one.answers.shape[:2] == (1, 5)


@pytest.mark.parametrize("cut_share", [0, 1])
def test_masks_answers_and_attributes_agree(crowded, cut_share):
    source = CrowdedSource(crowded, config(tasks_per_image=8, cut_share=cut_share))
    for step in range(4):
        batch = source.batch(step)
        nothing = batch.serving[:, ATTRIBUTES.index("nothing")].bool()
        assert torch.equal(~batch.masks.flatten(1).any(1), nothing)
        for mask, answer in zip(batch.masks, batch.answers[0], strict=True):
            labels = torch.nonzero(answer).flatten()
            shown = torch.isin(batch.labels[0], labels[labels > 0])
            assert torch.equal(mask, shown) and answer[0] != mask.any()
        looks = batch.kinds[0][batch.labels[0] > 0]
        assert looks.min() >= 1 and looks.max() <= len(LOOKS)
        assert torch.equal(batch.kinds[0] > 0, batch.labels[0] > 0)


def test_what_is_asked_about_a_cut_is_true_of_it(crowded):
    rng, ladders = np.random.default_rng(0), 0
    for index in 12 * list(range(len(crowded))):
        view = cut_view(crowded[index], rng)
        assert view.queries and view.labels.shape == (CUT_SIDE, CUT_SIDE)
        shown = set(np.unique(view.labels)) - {0}
        kinds = {view.objects[label - 1]["kind"] for label in shown}
        for query in view.queries:
            assert "D" not in query["family"] and shown.issuperset(query["objects"])
            if query["task"] in LADDERS:
                rungs = [kind for kind in LADDERS[query["task"]].rungs if kind in kinds]
                best = {i for i in shown if rungs and view.objects[i - 1]["kind"] == rungs[0]}
                assert set(query["objects"]) == best
                ladders += 1
    assert ladders > 20


def test_what_is_asked_by_its_name_is_all_of_that_name(crowded):
    rng, absent = np.random.default_rng(0), 0
    for index in 6 * list(range(len(crowded))):
        view = cut_view(crowded[index], rng)
        shown = [view.objects[label - 1] for label in np.unique(view.labels) if label]
        for question in draw_names(view, 4, rng):
            words = question["text"].rstrip("?").split(" the ", 1)[-1].removeprefix("the ")
            state, _, kind = words.partition(" ")
            if words in KINDS:
                state, kind = None, words
            named = {
                one["label"]
                for one in shown
                if one["kind"] == kind and state in (None, one["state"])
            }
            assert set(question["objects"]) == named
            absent += not named
    assert 0 < absent < 40


def test_naming_questions_come_after_all_others(crowded):
    batch = CrowdedSource(crowded, config(further_tasks=1, naming_tasks=2)).batch(0)
    assert len(batch.tasks[0]) == 2 and len(batch.further[0]) == 3 and len(batch.masks) == 2
    assert batch.serving.shape[0] == 5 and batch.answers.shape[1] == 5


def test_left_and_right_follow_the_picture_when_it_is_mirrored():
    image, labels = np.zeros((20, 40, 3), np.uint8), np.zeros((20, 40), np.uint8)
    labels[5:10, 18:22], labels[5:10, 2:8] = 1, 2  # a lamp and a mug left of it
    query = {"task": "crockery left of lamp", "family": "D", "objects": [2]}
    view, sides = View(image, labels, ({}, {}), (query,)), set()
    for seed in range(8):
        mirrored = augmented(view, np.random.default_rng(seed))
        lamp, mug = (np.nonzero(mirrored.labels == label)[1].mean() for label in (1, 2))
        side = "left" if mug < lamp else "right"
        assert mirrored.queries[0]["task"] == f"crockery {side} of lamp"
        sides.add(side)
    assert sides == {"left", "right"}


def test_every_task_has_a_mirrored_one():
    mirrored = {name: mirrored_task(name) for name in TASKS}
    assert mirrored.keys() == set(mirrored.values())
    assert {a for a, b in mirrored.items() if a != b} == {n for n in TASKS if " of " in n}


def test_families_take_turns_and_nothing_comes_twice_before_all_came():
    queries = [{"family": "A", "number": i} for i in range(4)] + [{"family": "E", "number": 9}]
    for seed in range(5):
        drawn = draw_queries(queries, 7, np.random.default_rng(seed))
        assert {query["family"] for query in drawn[:2]} == {"A", "E"}
        assert len({query["number"] for query in drawn[:5]}) == 5 and len(drawn) == 7


def test_coverage_counts_each_cell_once_and_pads_as_llava_does():
    labels = torch.zeros(1, 48, 64, dtype=torch.uint8)
    labels[0, 10:30, 32:48] = 2
    for centred in (False, True):
        shares = coverage(labels, 3, 16, centred)
        torch.testing.assert_close(shares.sum(1), torch.ones(1, 16, 16))
        assert not shares[0, [1, 3]].any()
        expected = to_llava_frame((labels == 2).float(), 16, "pad")
        if not centred:
            expected = expected.roll(-2, 1)
        torch.testing.assert_close(shares[:, 2], expected, atol=0.3, rtol=0)
        assert shares[:, 2].sum() == pytest.approx(20 * 16 / 16, rel=0.1)


def test_wrong_data_sets_are_refused(data, crowded, tmp_path):
    with pytest.raises(ValueError, match="has edition 1; it must have edition 2"):
        CrowdedSource(data, config())
    with pytest.raises(ValueError, match="has 4 scenes, and fewer than the batch of 9"):
        CrowdedSource(crowded, config(batch=9))
    (tmp_path / "dataset.json").write_text('{"kinds": [], "edition": 2, "tasks": [{"name": "x"}]}')
    with pytest.raises(ValueError, match="asks for 'x', which is no task"):
        CrowdedSource(TabletopDataset(tmp_path), config())


def test_whole_scenes_keep_all_questions(crowded):
    scene = crowded[0]
    assert whole(scene).queries == scene.queries
    assert crowded.size(0) == scene.labels.shape


def test_more_readers_read_the_same(crowded):
    few, many = (
        [batch.tasks for _, (batch,) in CrowdedSource(crowded, config(readers=n)).batches(1)]
        for n in (1, 3)
    )
    assert few == many and len(few) == 3

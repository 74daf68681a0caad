"""Questions about stored scenes: rows by family, and controls that take the image away."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from builders import crowded_scenes, tiny_model

from vltp_ros.cli.evaluate import Evaluate, describe, run
from vltp_ros.data.scenes import TabletopDataset
from vltp_ros.evaluation.questions import Probe, evaluate_questions
from vltp_ros.evaluation.tabletop import Setting
from vltp_ros.runtime.session import Session


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return crowded_scenes(tmp_path_factory.mktemp("val"), 2, "val")


@pytest.fixture(scope="module")
def session():
    model = tiny_model()
    for parameter in model.reasoner.parameters():  # so that the image matters
        parameter.data = 5 * parameter.data
    return Session(model, torch.device("cpu"))


DENSE, PRUNED = Setting("keep_all"), Setting("prune_decoder", 0.5)


def rows_of(session, scenes, *probes):
    return evaluate_questions(session, scenes, probes, progress=False)


def of_all(rows):
    return [row for row in rows if row["family"] == "all"]


def test_families_add_up_to_all_questions(session, scenes):
    rows = rows_of(session, scenes, Probe(DENSE))
    (total,), parts = of_all(rows), [row for row in rows if row["family"] != "all"]
    assert {row["family"] for row in parts} == {
        query["family"] for i in range(2) for query in scenes[i].queries
    }
    assert total["count"] == sum(row["count"] for row in parts)
    mean = sum(row["giou"] * row["count"] for row in parts) / total["count"]
    assert total["giou"] == pytest.approx(mean) and total["split"] == "val"


def test_masks_are_those_of_the_session(session, scenes):
    for setting, rates in ((DENSE, (0.0,)), (PRUNED, (0.5,))):
        session.configure(dataclasses.replace(session.settings, rates=rates))
        ious = []
        for index in range(2):
            scene = scenes[index]
            tasks = [query["text"] for query in scene.queries]
            for query, result in zip(
                scene.queries, session.segment(scene.image, tasks), strict=True
            ):
                mask = scene.mask(query)
                union = (mask | result.mask).sum()
                ious.append((mask & result.mask).sum() / union if union else 1.0)
        (row,) = of_all(rows_of(session, scenes, Probe(setting)))
        assert row["giou"] == pytest.approx(np.mean(ious), abs=1e-3)


def test_controls_change_what_they_say_and_nothing_else(session, scenes):
    probes = [Probe(PRUNED, control) for control in ("none", "grey", "swapped", "ranking")]
    none, grey, swapped, ranking = of_all(rows_of(session, scenes, *probes))
    assert none["seg_change"] == ranking["seg_change"] == 0
    assert min(grey["seg_change"], swapped["seg_change"]) > 1e-3
    assert grey["seg_change"] != pytest.approx(swapped["seg_change"], rel=1e-3)
    assert (
        none["gmacs"]
        == ranking["gmacs"]
        > of_all(rows_of(session, scenes, Probe(Setting("random", 0.5))))[0]["gmacs"]
    )


def test_an_image_does_not_matter_to_a_model_that_does_not_look(scenes):
    model = tiny_model()
    for parameter in model.reasoner.llava.model.multi_modal_projector.parameters():
        parameter.data.zero_()
    rows = rows_of(Session(model, torch.device("cpu")), scenes, Probe(DENSE, "grey"))
    assert of_all(rows)[0]["seg_change"] == pytest.approx(0, abs=1e-6)


def test_bad_requests_are_refused(session, scenes, tmp_path):
    with pytest.raises(ValueError, match="selector is 'attention'; allowed for questions"):
        rows_of(session, scenes, Probe(Setting("attention", 0.5)))
    with pytest.raises(ValueError, match=r"count is 3 and .* has 2 scenes"):
        evaluate_questions(session, scenes, [Probe(DENSE)], 3)
    (tmp_path / "dataset.json").write_text('{"kinds": []}')
    with pytest.raises(ValueError, match="has edition 1; it must have edition 2"):
        rows_of(session, TabletopDataset(tmp_path), Probe(DENSE))


def test_the_command_prints_families_and_refuses_controls_without_data(scenes):
    answer = run(
        Evaluate(data=scenes.directory, count=1, selector=("keep_all",), control=("none", "grey"))
    )
    lines = describe(answer).splitlines()
    assert lines[0].split()[:2] == ["control", "family"] and lines[1].split()[:2] == ["none", "all"]
    with pytest.raises(ValueError, match="--control is grey, which needs --data"):
        run(Evaluate(control=("grey",)))

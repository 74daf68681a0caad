"""<SEG> for a stream of images: computed anew when the task, the time or the view asks for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import tiny_model

from vltp_ros.runtime.reuse import ReuseConfig
from vltp_ros.runtime.session import Session
from vltp_ros.runtime.settings import InferenceSettings

TASK = "something to drive a nail"


@pytest.fixture
def session(monkeypatch):
    """A session that records the tasks that LLaVA runs for."""
    session = Session(tiny_model(), torch.device("cpu"))
    session.configure(InferenceSettings(reuse=ReuseConfig(max_age=1.0, max_change=0.1)))
    reason = session.model.reasoner.reason
    session.prefills = []

    def recorded(features, tasks, **rest):
        session.prefills.append([task for row in tasks for task in row])
        return reason(features, tasks, **rest)

    monkeypatch.setattr(session.model.reasoner, "reason", recorded)
    return session


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 200, (90, 120, 3), np.uint8)


def ages(session, image, stamp, tasks=(TASK,), stream=""):
    results = session.segment(image, tasks, stamp=stamp, stream=stream)
    return [result.seg_age_s for result in results]


def test_age_decides(session, image):
    stamps = (5.0, 5.5, 6.0, 6.25, 6.5)
    assert [ages(session, image, stamp)[0] for stamp in stamps] == [0.0, 0.5, 1.0, 0.0, 0.25]
    assert len(session.prefills) == 2


def test_an_older_image_does_not_use_a_newer_embedding(session, image):
    """As when a bag begins again; from then on its own are used."""
    stamps = (5.0, 1.0, 1.5, 5.0)
    assert [ages(session, image, stamp)[0] for stamp in stamps] == [0.0, 0.0, 0.5, 0.0]


def test_llava_runs_for_a_new_task_and_not_for_the_old_one(session, image):
    ages(session, image, 5.0)
    assert ages(session, image, 5.5, (TASK, "drink", TASK)) == [0.5, 0.0, 0.5]
    assert session.prefills == [[TASK], ["drink"]]


def test_the_view_decides(session, image):
    ages(session, image, 5.0)
    noisy = image + np.random.default_rng(1).integers(0, 20, image.shape, np.uint8)
    assert ages(session, noisy, 5.1) == [pytest.approx(0.1)]
    changed = image.copy()
    changed[40:60, 50:70] = 255  # something came in: a few cells change by much
    assert ages(session, changed, 5.2) == [0.0]
    assert ages(session, image[::-1], 5.3) == [0.0]


def test_streams_do_not_share_embeddings(session, image):
    assert ages(session, image, 5.0, stream="left") == [0.0]
    assert ages(session, image, 5.1, stream="right") == [0.0]
    assert ages(session, image, 5.2, stream="left") == [pytest.approx(0.2)]


def test_nothing_is_reused_without_a_stamp_or_unasked(session, image):
    assert [session.segment(image, [TASK])[0].seg_age_s for _ in range(2)] == [0.0, 0.0]
    session.configure(InferenceSettings())
    assert ages(session, image, 5.0) + ages(session, image, 5.1) == [0.0, 0.0]
    assert len(session.prefills) == 4


def test_an_image_that_stands_for_itself_leaves_the_streams_alone(session, image):
    ages(session, image, 5.0)
    session.segment(image, ["drink"])
    assert ages(session, image, 5.5) == [0.5]


def test_settings_that_embeddings_depend_on_drop_them(session, image):
    ages(session, image, 5.0)
    session.configure(replace(session.settings, csp="65"))
    assert ages(session, image, 5.1) == [0.0]


@pytest.mark.parametrize("selector", ["prune_decoder", "attention"])
def test_a_reused_embedding_gives_the_same_answer(session, image, selector):
    session.configure(replace(session.settings, selector=selector))
    fresh = session.segment(image, [TASK], stamp=5.0)[0]
    again = session.segment(image, [TASK], stamp=5.1)[0]
    assert len(session.prefills) == 1
    np.testing.assert_allclose(again.probability, fresh.probability, atol=1e-5)


@pytest.mark.parametrize("settings", [{"max_age": -1.0}, {"max_change": 2.0}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match=f"ReuseConfig.{next(iter(settings))} is"):
        ReuseConfig(**settings)

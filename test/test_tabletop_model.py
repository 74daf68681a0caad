"""The model that ships: it loads, is small enough, answers, and prunes what does not matter."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from vltp_ros.evaluation.metrics import MaskMetrics
from vltp_ros.evaluation.tabletop import rendered_samples
from vltp_ros.network.preprocessing import fitted_size
from vltp_ros.paths import default_model
from vltp_ros.runtime.session import Session
from vltp_ros.runtime.settings import InferenceSettings

SCENES = 16


@pytest.fixture(scope="module")
def session():
    return Session.load(default_model())


@pytest.fixture(scope="module")
def samples():
    return list(rendered_samples("test", SCENES))


@pytest.fixture(scope="module")
def answers(session, samples):
    """What the model answers about the samples at a rate, computed once."""

    @cache
    def at(rate):
        session.configure(InferenceSettings(rates=(rate,)))
        return [session.segment(sample.image, [sample.text])[0] for sample in samples]

    return at


def test_it_fits_into_a_repository():
    size = sum(path.stat().st_size for path in default_model().rglob("*") if path.is_file())
    assert size < 40e6


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.8])
def test_masks_follow_the_task(samples, answers, rate):
    """Far below the measured accuracy, for sixteen scenes are few, and far above chance."""
    metrics = MaskMetrics()
    for sample, answer in zip(samples, answers(rate), strict=True):
        metrics.add(answer.mask, sample.mask)
    assert metrics.giou > 0.6


@pytest.mark.parametrize("settings", [{"csp": "65"}, {"csp": "70"}, {"selector": "attention"}])
def test_masks_survive_what_needs_no_training(session, samples, settings):
    session.configure(InferenceSettings(rates=(0.5,), **settings))
    metrics = MaskMetrics()
    for sample in samples:
        metrics.add(session.segment(sample.image, [sample.text])[0].mask, sample.mask)
    assert metrics.giou > 0.6


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_few_bits_leave_most_of_the_masks_alone(samples, answers, quantization):
    small = Session.load(default_model(), quantization=quantization, rates=(0.0,))
    metrics = MaskMetrics()
    for sample, exact in zip(samples[:8], answers(0.0), strict=False):
        metrics.add(small.segment(sample.image, [sample.text])[0].mask, exact.mask)
    assert metrics.giou > 0.8


def test_kept_tokens_cover_what_serves_the_task(samples, answers):
    covered = []
    for sample, answer in zip(samples, answers(0.8), strict=True):
        if not sample.mask.any():
            continue
        kept = answer.kept[-1]
        height, width = fitted_size(*sample.mask.shape, 512)
        rows = np.arange(sample.mask.shape[0]) * height // sample.mask.shape[0] // 16
        columns = np.arange(sample.mask.shape[1]) * width // sample.mask.shape[1] // 16
        covered.append(kept[np.ix_(rows, columns)][sample.mask].mean())
    assert np.mean(covered) > 0.9  # a fifth of the tokens, by chance a fifth of the mask


def test_another_task_gives_another_mask(session, samples):
    session.configure(InferenceSettings(rates=(0.5,)))
    sentences = ["something to drive a nail", "what could I drink from?", "I need to cut this rope"]
    masks = [session.segment(samples[0].image, [text])[0].mask for text in sentences]
    assert len({mask.tobytes() for mask in masks}) > 1

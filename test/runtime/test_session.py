"""What everybody uses: images and tasks in, results out, bad input refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import tiny_model

from vltp_ros.evaluation.check_context import exact_float32
from vltp_ros.network.token_selection import kept_count
from vltp_ros.runtime.checks import NotFiniteError
from vltp_ros.runtime.device import resolve_device
from vltp_ros.runtime.session import Session
from vltp_ros.runtime.settings import InferenceSettings
from vltp_ros.types import Segmentation


@pytest.fixture(scope="module")
def session():
    return Session(tiny_model(), torch.device("cpu"))


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


def test_results_have_the_size_of_the_image_and_the_order_of_the_tasks(session, image):
    session.configure(InferenceSettings())
    results = session.segment(image, ["cut bread", "  drive a nail "])
    assert [r.task for r in results] == ["cut bread", "drive a nail"]
    for r in results:
        assert r.mask.shape == r.probability.shape == (90, 120)
        assert r.mask.dtype == bool and r.probability.dtype == np.float32
        assert np.array_equal(r.mask, r.probability > 0.5)
        assert 0 <= r.score <= 1 and r.area == r.mask.sum()
        assert [k.shape for k in r.kept] == [(8, 10)] * 2  # of 10 x 10, two rows are padding
        assert all(k.sum() <= kept_count(100, 0.5) for k in r.kept)
        assert list(r.times_ms) == [
            "preprocess",
            "reasoner",
            "stem",
            "pruned blocks",
            "mask decoder",
            "postprocess",
        ]


@pytest.mark.parametrize("rates", [(0.5,), (0.0,)])
def test_tasks_together_equal_tasks_alone(session, image, rates):
    session.configure(InferenceSettings(rates=rates))
    tasks = ["cut bread", "drive a nail into the wall", "drink"]
    together = session.segment(image, tasks)
    for task, result in zip(tasks, together, strict=True):
        alone = session.segment(image, [task])[0]
        assert np.abs(alone.probability - result.probability).max() < 1e-4


def test_rate_zero_does_not_prune(session, image):
    session.configure(InferenceSettings(rates=(0.0,)))
    result = session.segment(image, ["drink"])[0]
    assert result.kept == () and "pruned blocks" not in result.times_ms


@pytest.mark.parametrize("rates", [(0.0,), (0.5,)])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_stays_close_to_float32(image, precision, rates):
    exact, rough = (
        Session(tiny_model(), torch.device("cpu"), InferenceSettings(rates=rates, precision=name))
        for name in ("float32", precision)
    )
    assert rough.precision == precision and rough.device_name.endswith(f"{precision})")
    expected = exact.segment(image, ["drink"])[0].probability
    assert 0 < np.abs(expected - rough.segment(image, ["drink"])[0].probability).mean() < 0.02


def test_precision_is_chosen_when_the_model_is_loaded(session):
    before = session.settings
    with pytest.raises(
        ValueError, match="precision is 'bfloat16'; the model was loaded in float32"
    ):
        session.configure(InferenceSettings(precision="bfloat16"))
    assert session.settings == before
    session.configure(InferenceSettings(precision="float32"))  # what auto means here


def test_scores_areas_and_boxes_are_those_of_the_masks(session, image):
    session.configure(InferenceSettings(threshold=0.5))
    middle = session.segment(image, ["drink"])[0].probability
    for threshold in (0.0, float(np.median(middle)), 1.0):
        session.configure(InferenceSettings(threshold=threshold))
        r = session.segment(image, ["drink"])[0]
        plain = Segmentation.certain("drink", r.probability > threshold)
        assert np.array_equal(r.mask, plain.mask) and r.area == plain.area and r.box == plain.box
        expected = r.probability[r.mask].mean() if r.area else 1 - r.probability.max()
        assert abs(r.score - expected) < 0.003  # the probabilities are rounded, the score is not


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        None,
    ],
)
def test_bad_images_are_refused(session, bad):
    with pytest.raises(ValueError, match=r"image is .*; allowed: uint8 \(height, width, 3\)"):
        session.segment(bad, ["drink"])


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("", "must be a sentence"),
        (" \n", "must be a sentence"),
        ("cut\x1b[2J", "must not hold control characters"),
        (None, "must be a sentence"),
        ("x" * 10_000, "10000 characters; at most 1000"),
    ],
)
def test_bad_tasks_are_refused(session, image, task, reason):
    with pytest.raises(ValueError, match=reason):
        session.segment(image, ["drink", task])


def test_a_string_is_no_list_of_tasks(session, image):
    with pytest.raises(ValueError, match="tasks is the string 'cut'; it must be a list"):
        session.segment(image, "cut")


def test_an_image_too_large_for_its_tasks_is_refused(session):
    large = np.broadcast_to(np.uint8(0), (8192, 8192, 3))
    with pytest.raises(ValueError, match=r"8192x8192 with 16 tasks has 1\.1e\+09 mask pixels"):
        session.segment(large, [f"task {number}" for number in range(16)])


def test_masks_are_the_same_when_few_are_computed_at_once(session, image, monkeypatch):
    tasks = ["cut", "drink", "pour"]
    together = session.segment(image, tasks)
    monkeypatch.setattr("vltp_ros.runtime.masks.AT_ONCE", 2 * 90 * 120)
    for one, other in zip(together, session.segment(image, tasks), strict=True):
        assert (one.mask != other.mask).mean() < 0.001
        assert one.score == pytest.approx(other.score, abs=1e-4)


def test_a_task_becomes_one_line(session, image):
    (result,) = session.segment(image, [" cut\n[INFO] all  is well\t"])
    assert result.task == "cut [INFO] all is well"


def test_a_refusal_says_what_segment_would(session, image):
    for task in ("find [SEG]", "<image> of a dog", "word " * 400, " ", "x" * 1001):
        with pytest.raises(ValueError) as error:
            session.segment(image, [task])
        assert session.refusal(task) == str(error.value)
    assert session.refusal("cut bread") == "" and session.segment(image, ["cut bread"])


@pytest.mark.parametrize("part", ["mask_decoder", "prune_decoder", "image_encoder", "reasoner"])
def test_values_that_are_not_finite_give_no_mask(image, part):
    model = tiny_model()
    session = Session(model, torch.device("cpu"), InferenceSettings(rates=(0.5,)))
    session.segment(image, ["cut"])
    parameter = next(p for p in model.get_submodule(part).parameters() if p.ndim > 1)
    if part == "mask_decoder":
        session.configure(InferenceSettings(rates=(0.0,)))
        parameter = model.mask_decoder.iou_token.weight
    whole = parameter.data.clone()
    parameter.data.fill_(torch.nan)
    with pytest.raises(NotFiniteError, match=r"\(in float32\) computed values that are not finite"):
        session.segment(image, ["cut"])
    parameter.data.copy_(whole)
    assert session.segment(image, ["cut"])[0].score >= 0


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"rates": (1.0,)}, "rates is 1.0; it must be below 1"),
        ({"rates": (-0.5, 0.5)}, "rates is -0.5; it must be at least 0"),
        ({"rates": (0.1, 0.2, 0.3)}, "rates has 3 values"),
        ({"prune_after": (1,), "rates": (0.5,)}, r"prune_after is \(1,\); allowed"),
        ({"prune_after": (99,), "rates": (0.5,)}, r"prune_after is \(99,\); allowed"),
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"precision": "int3"}, "precision is 'int3'"),
        ({"runner": "fast"}, "runner is 'fast'; allowed: auto, eager, compiled"),
        ({"selector": "magic"}, "selector is 'magic'; allowed: prune_decoder, attention"),
        ({"selector": "attention", "adaptive": True}, "adaptive needs prune_decoder"),
        ({"csp": "99"}, "csp is '99'; allowed: off, 65, 70"),
    ],
)
def test_bad_settings_are_refused_and_change_nothing(session, image, settings, reason):
    session.configure(InferenceSettings(prune_after=(2, 3), rates=(0.8,)))
    before = session.settings
    with pytest.raises(ValueError, match=reason):
        session.configure(InferenceSettings(**settings))
    with pytest.raises(ValueError, match=reason):
        session.configure(replace(before, **settings))
    assert session.settings == before
    assert session.segment(image, ["drink"])[0].tokens == (20, 20)


def test_what_is_not_given_is_the_models(session):
    session.configure(InferenceSettings(rates=(0.8,), threshold=0.25))
    session.configure(InferenceSettings())
    own, settings = session.model.config.pruning, session.settings
    assert (settings.prune_after, settings.rates) == (own.prune_after, own.rates)
    assert (settings.selector, settings.adaptive) == (own.selector, own.adaptive)
    assert settings.threshold == session.model.config.threshold


def test_a_closed_session_cannot_be_used(image):
    session = Session(tiny_model(), torch.device("cpu"))
    session.close()
    session.close()
    with pytest.raises(AttributeError):
        session.segment(image, ["drink"])


def test_devices():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for bad in ("toaster", "cuda:99", "mps"):
        with pytest.raises(ValueError, match=bad):
            resolve_device(bad)


def test_adaptive_spends_what_the_scores_ask_for(session, image):
    session.configure(InferenceSettings(adaptive=True, rates=(0.0,)))  # the rates do not matter
    low, high = torch.full((1, 100), -9.0), torch.full((1, 100), -9.0)
    high[:, :25] = 9.0
    few = session.segment(image, ["drink"], score=lambda stage, tokens: low)[0]
    many = session.segment(image, ["drink"], score=lambda stage, tokens: high)[0]
    assert few.tokens == (10, 10) and many.tokens == (30, 30)  # shares 0.1 and 0.3 of 100


def test_attention_ranks_without_a_prune_decoder(session, image):
    session.configure(InferenceSettings(rates=(0.8,), selector="attention"))
    attended = session.segment(image, ["drink", "cut bread"])
    session.configure(InferenceSettings(rates=(0.8,), selector="prune_decoder"))
    learned = session.segment(image, ["drink", "cut bread"])
    assert all(r.tokens == (20, 20) for r in attended)
    assert (attended[0].kept[0] == attended[0].kept[1]).all()  # one map serves all stages
    assert (attended[0].kept[0] != learned[0].kept[0]).any()


def test_csp_changes_the_answer_a_little_and_off_is_the_plain_forward(session, image):
    session.configure(InferenceSettings(rates=(0.0,)))
    plain = session.segment(image, ["drink"])[0].probability
    session.configure(InferenceSettings(rates=(0.0,), csp="65"))
    fewer = session.segment(image, ["drink"])[0].probability
    session.configure(InferenceSettings(rates=(0.0,)))
    assert 0 < np.abs(fewer - plain).max() < 0.5
    assert np.allclose(session.segment(image, ["drink"])[0].probability, plain, atol=1e-6)


def test_csp_chooses_the_first_tokens_as_it_is_told(session, image):
    probabilities = []
    for selector in ("uniform", "random", "cls"):
        torch.manual_seed(0)
        session.configure(InferenceSettings(rates=(0.0,), csp="65", csp_selector=selector))
        probabilities.append(session.segment(image, ["drink"])[0].probability)
    uniform, random, cls = probabilities
    assert np.abs(uniform - random).max() > 0 and np.abs(uniform - cls).max() > 0


def test_what_a_stage_leaves_out_may_stay_out(session, image):
    tasks = ["drink", "cut bread"]
    session.configure(InferenceSettings(rates=(0.5,)))
    free = session.segment(image, tasks)
    assert any((one.kept[1] & ~one.kept[0]).any() for one in free)
    session.configure(InferenceSettings(rates=(0.5,), returns=False))
    for one in session.segment(image, tasks):
        assert (one.kept[0] == one.kept[1]).all()
    session.configure(InferenceSettings(rates=(0.8, 0.5), returns=False))
    assert session.segment(image, tasks)[0].tokens == (20, 20)  # no more are left to choose from
    session.configure(InferenceSettings(rates=(0.5, 0.8), returns=False))
    later = session.segment(image, tasks)[0]
    assert later.tokens == (50, 20) and not (later.kept[1] & ~later.kept[0]).any()


def test_the_last_mask_keeps_its_place_in_the_next_frame(session, image):
    session.configure(InferenceSettings(rates=(0.8,)))

    def score(stage, tokens):
        return torch.arange(100.0).unsqueeze(0) / 100  # the bottom of the square

    prior = np.zeros((1, 90, 120), bool)
    prior[:, :20, :30] = True
    without = session.segment(image, ["drink"], score)[0]
    steadied = session.segment(image, ["drink"], score, prior)[0]
    assert not any(stage[:2, :3].any() for stage in without.kept)
    assert all(stage[:2, :3].all() for stage in steadied.kept)
    with pytest.raises(
        ValueError, match=r"prior is bool \(90, 120\); allowed: bool \(1, 90, 120\)"
    ):
        session.segment(image, ["drink"], score, prior[0])


@pytest.mark.requires_cuda
def test_gpu_equals_cpu(image):
    results = []
    for device in ("cpu", "cuda"):
        settings = InferenceSettings(rates=(0.5,), precision="float32")
        session = Session(tiny_model().to(device), torch.device(device), settings)
        with exact_float32():
            results.append(session.segment(image, ["drink", "cut bread"]))
    for cpu, cuda in zip(*results, strict=True):
        difference = np.abs(cpu.levels.astype(int) - cuda.levels)
        assert difference.max() <= 1 and difference.mean() < 0.01  # where one is nearly the next

"""The methods of Table 7: which tokens they run, that they learn, that they are compared."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from builders import SMALL, tiny_model

from vltp_ros.data.scenes import TabletopDataset
from vltp_ros.evaluation import baselines
from vltp_ros.evaluation.baselines import (
    BASELINES,
    EarlyExit,
    LearnedGates,
    RandomSelection,
    TokenSharing,
)
from vltp_ros.evaluation.metrics import MaskMetrics
from vltp_ros.evaluation.table7 import BaselineStage, table7, vltp_gain
from vltp_ros.network.encoder import PrunedImageEncoder
from vltp_ros.runtime.session import Session
from vltp_ros.simulation import TASKS, generate_dataset
from vltp_ros.training.batches import BatchSource
from vltp_ros.training.config import TrainConfig

KINDS = 5


@pytest.fixture
def encoder():
    return tiny_model().encoder((2, 3))


@pytest.fixture
def ran(encoder, monkeypatch):
    """The kept positions of every pruned stage that runs."""
    positions = []
    advance = PrunedImageEncoder.advance

    def spy(self, stage, tokens, kept):
        positions.append(kept)
        return advance(self, stage, tokens, kept)

    monkeypatch.setattr(PrunedImageEncoder, "advance", spy)
    return positions


def square(batch: int = 2) -> torch.Tensor:
    side = SMALL.img_size
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_random_runs_another_half_at_each_stage(encoder, ran):
    RandomSelection(encoder, KINDS, 0.5)(square())
    first, second = ran
    assert first.shape == second.shape == (2, 50) and not torch.equal(first, second)


@torch.no_grad()
def test_sharing_merges_the_most_uniform_superpatches(monkeypatch):
    model = tiny_model()
    sharing = TokenSharing(model.encoder((2, 3)), KINDS, rate=0.12).eval()
    monkeypatch.setattr(sharing.policy, "forward", lambda x: uniform)
    uniform = torch.full((1, 1, 5, 5), -9.0)
    uniform[0, 0, 0, 1] = uniform[0, 0, 2, 3] = uniform[0, 0, 4, 4] = uniform[0, 0, 3, 0] = 9.0
    merged = {}
    neck = model.image_encoder.neck[0]
    neck.register_forward_pre_hook(lambda module, args: merged.update(x=args[0]))
    run = []
    blocks = baselines.run_blocks
    monkeypatch.setattr(
        baselines, "run_blocks", lambda b, t, p: run.append(p.indices) or blocks(b, t, p)
    )
    sharing(square(1))
    apart = merged["x"][0].unfold(1, 2, 2).unfold(2, 2, 2).flatten(3)  # [C, 5, 5, 4]
    equal = (apart == apart[..., :1]).all(-1).all(0)
    assert torch.equal(equal, uniform[0, 0] > 0)  # shared tokens, and only they, are copies
    (positions,) = run
    assert positions.shape == (1, 100 - 3 * 4)
    assert {2, 46, 88, 60} < set(positions[0].tolist())  # a shared token sits at its first patch


def test_sharing_learns_where_one_kind_fills_a_superpatch(encoder):
    sharing = TokenSharing(encoder, KINDS, 0.12)
    kinds = torch.zeros(1, 120, 160, dtype=torch.int64)  # fills three quarters of the square
    kinds[:, 40:, 40:] = 3
    labels = sharing._labels(kinds, 160)[0, 0]
    assert labels.tolist() == [
        [1, 1, 1, 1, 1],
        [1, 0, 0, 0, 0],
        [1, 0, 1, 1, 1],
        [1, 0, 0, 0, 0],
        [1, 1, 1, 1, 1],
    ]


@torch.no_grad()
def test_certain_tokens_leave_for_good_but_some_of_each_class(encoder, ran):
    exits = EarlyExit(encoder, KINDS, 0.5).eval()
    certain = torch.zeros(1, 100, KINDS + 1)
    certain[0, :70, 1] = 5.0 + 0.02 * torch.arange(
        70
    )  # the later, the surer: 65..69 stay as context
    for judge in exits.judges:
        judge.forward = lambda tokens: certain
    exits(square(1))
    assert ran[0].tolist() == [[*range(65, 100)]]
    assert ran[1].tolist() == ran[0].tolist()


@pytest.mark.parametrize("method", [EarlyExit, LearnedGates])
@torch.no_grad()
def test_calibration_saves_the_share_that_was_asked_for(encoder, ran, method):
    torch.manual_seed(0)
    baseline = method(encoder, KINDS, 0.4).eval()
    baseline.calibrate(square())
    ran.clear()
    baseline(square())
    assert sum(p.shape[1] for p in ran) / (4 * 100) == pytest.approx(0.6, abs=0.02)


def test_gates_choose_and_their_choice_has_a_gradient(encoder, ran):
    torch.manual_seed(0)
    encoder.image_encoder.requires_grad_(False)
    gates = LearnedGates(encoder, KINDS, 0.3)
    with torch.no_grad():
        gates.eval()(square(1))
    first = next(iter(ran))
    assert 0 < first.shape[1] < 100
    features, loss = gates.train()(square(1), torch.zeros(1, 120, 160, dtype=torch.int64))
    (features.square().mean() + 0 * loss).backward()
    assert all(judge[1].weight.grad.abs().sum() > 0 for judge in gates.judges)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    out = tmp_path_factory.mktemp("scenes")
    generate_dataset(out, count=4, seed=0, split="train", workers=1, progress=False)
    config = TrainConfig(steps=2, batch=2, tasks_per_image=2, warmup=1, bfloat16=False)
    return BatchSource(TabletopDataset(out), TASKS, config)


@pytest.mark.parametrize("name", BASELINES)
def test_own_module_and_mask_decoder_learn_and_nothing_else(source, name):
    method, rate = BASELINES[name]
    model = tiny_model()
    stage = BaselineStage(model, method(model.encoder((2, 3)), len(source.data.kinds), rate))
    stage.train()(source.batch(0), 0)["loss"].backward()
    learning = {n for n, p in stage.named_parameters() if p.grad is not None}
    assert learning and all(n.startswith(("baseline.", "mask_decoder.")) for n in learning)
    assert not any("encoder" in n.removeprefix("baseline.") for n in learning if "mask" not in n)
    own = {n.split(".")[1] for n in learning if n.startswith("baseline.")}
    assert own == {"random": set(), "CTS": {"policy"}, "DToP": {"judges"}, "SViT": {"judges"}}[name]


def test_one_call_trains_and_compares_them_all(source, tmp_path):
    session = Session(tiny_model(pruned_half=False), torch.device("cpu"))
    config = replace(source.config, rates=(0.5, 0.8))
    rows = table7(session, source, config, tmp_path, "test", 2, options={"--model": "a model"})
    assert [row["method"] for row in rows] == ["dense", *BASELINES, "VLTP", "VLTP"]
    assert [row["rate"] for row in rows if row["method"] == "VLTP"] == [0.5, 0.8]
    assert all(0 <= row["giou"] <= 1 and row["count"] == 2 for row in rows)
    costs = {row["method"]: row["gmacs"] for row in rows}
    assert 0 < costs["random"] < costs["dense"] and all(cost > 0 for cost in costs.values())
    runs = (*BASELINES, "VLTP 0.5", "VLTP 0.8")
    assert all((tmp_path / run / "checkpoint.pt").is_file() for run in runs)
    stored = torch.load(tmp_path / "DToP" / "checkpoint.pt", weights_only=True)["stage"]
    assert stored["baseline.confidence"] != 0.95  # it followed the heads
    with pytest.raises(ValueError, match=r"--batch is 1; the run in .*random was begun with 2"):
        table7(session, source, replace(config, batch=1), tmp_path, "test", 2)
    with pytest.raises(ValueError, match=r"--model is other; the run in .*random was begun with a"):
        table7(session, source, config, tmp_path, "test", 2, options={"--model": "other"})


def test_vltp_is_compared_at_the_next_lower_cost():
    ious = {("SViT", 0.7): [0.5, 0.7, 0.9], ("VLTP", 0.8): [0.6, 0.9, 0.9]}
    ious |= {("VLTP", 0.9): [1.0, 1.0, 1.0], ("VLTP", 0.5): [1.0, 1.0, 1.0]}
    gmacs = dict(zip(ious, (4.0, 4.0, 3.0, 5.0), strict=True))
    metrics = {way: MaskMetrics() for way in ious}
    for way, metric in metrics.items():
        metric.ious += ious[way]
    gain = vltp_gain(("SViT", 0.7), metrics, gmacs)
    assert gain["vltp_rate"] == 0.8 and gain["vltp_gain"] == pytest.approx(0.1)
    assert gain["vltp_gain_error"] == pytest.approx(0.1 / 3**0.5)
    gmacs["SViT", 0.7] = 2.0
    assert set(vltp_gain(("SViT", 0.7), metrics, gmacs).values()) == {None}

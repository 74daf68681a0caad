"""Stages for crowded scenes, on a few real ones with a tiny network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from builders import tiny_model

from vltp_ros.checkpoints.model_directory import load_model, read_provenance, save_model
from vltp_ros.cli.stages import FIRST_STAGES, LATER_STAGES
from vltp_ros.cli.train import Train, run
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.crowded_batches import CrowdedSource, common_sentences
from vltp_ros.training.crowded_stages import PLACES, answer_shares
from vltp_ros.training.loop import fit
from vltp_ros.training.new_model import new_model
from vltp_ros.training.start import SAM_PARTS, take_heads, take_sam

SETTINGS = TrainConfig(
    steps=4,
    batch=2,
    tasks_per_image=2,
    further_tasks=2,
    warmup=1,
    save_every=2,
    cut_share=1.0,  # of one size, whatever the scenes have
    bfloat16=False,
)


def stage_of(name, source, settings=SETTINGS):
    torch.manual_seed(0)
    if name in LATER_STAGES:
        return LATER_STAGES[name](tiny_model(), settings)
    return FIRST_STAGES[2][name](tiny_model(), settings, source.classes, source.attributes)


@pytest.mark.parametrize("name", ["encoder", "tower", "reasoner", "dense", "prune"])
def test_each_stage_learns_and_leaves_the_rest_alone(crowded, tmp_path, name):
    settings = dataclasses.replace(SETTINGS, steps=2)
    source = CrowdedSource(crowded, settings)
    stage = stage_of(name, source, settings)
    before = {n: p.clone() for n, p in stage.model.named_parameters()}
    fit(stage.train(), source, settings, tmp_path)
    moved = {n for n, p in stage.model.named_parameters() if not torch.equal(before[n], p)}
    assert moved and all(n.startswith(stage.trained) for n in moved)


def test_the_dense_stage_can_leave_the_image_encoder_as_it_is(crowded, tmp_path):
    settings = dataclasses.replace(SETTINGS, steps=1, freeze_encoder=True)
    source = CrowdedSource(crowded, settings)
    stage = stage_of("dense", source, settings)
    before = {n: p.clone() for n, p in stage.named_parameters()}
    fit(stage.train(), source, settings, tmp_path)
    moved = {n for n, p in stage.named_parameters() if not torch.equal(before[n], p)}
    assert not any(n.startswith(("model.image_encoder", "kind_head")) for n in moved)
    assert any(n.startswith("model.mask_decoder") for n in moved)


@pytest.mark.parametrize("name", ["tower", "reasoner", "dense"])
def test_losses_fall_on_two_scenes(crowded, name):
    source = CrowdedSource(crowded, SETTINGS)
    stage, batch = stage_of(name, source).train(), source.batch(0)
    optimiser = torch.optim.AdamW([p for p in stage.parameters() if p.requires_grad], lr=2e-3)
    history = []
    for step in range(15):
        losses = stage(batch, step)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        history.append({key: value.item() for key, value in losses.items()})
    assert all(history[-1][key] < history[0][key] for key in history[0])
    assert history[-1]["loss"] < 0.85 * history[0]["loss"]


def test_place_loss_is_least_where_the_answer_is(crowded):
    source = CrowdedSource(crowded, SETTINGS)
    stage, batch = stage_of("reasoner", source), source.batch(0)
    shares = answer_shares(batch, PLACES, centred=False)
    positions = stage.model.prompt_encoder.pe_layer((PLACES, PLACES)).flatten(1)
    with torch.no_grad():
        stage.place_head.weight.copy_(torch.eye(256))
        stage.place_head.bias.zero_()
    row = int(shares.flatten(1).sum(1).argmax())
    one = dataclasses.replace(
        batch,
        labels=batch.labels[row // 4 : row // 4 + 1],
        answers=batch.answers[row // 4 : row // 4 + 1, row % 4 : row % 4 + 1],
    )
    cells = torch.randperm(PLACES**2, generator=torch.Generator().manual_seed(0))[:40]
    best = int(shares[row].flatten().argmax())
    losses = {
        int(cell): stage.place_loss(positions[:, cell].view(1, 1, -1), one).item()
        for cell in (best, *cells)
    }
    nearest = min(losses, key=losses.__getitem__)
    assert shares[row].flatten()[nearest] > 0 and losses[best] < min(
        loss for cell, loss in losses.items() if shares[row].flatten()[cell] == 0
    )


def test_questions_that_nothing_answers_have_no_place(crowded):
    source = CrowdedSource(crowded, SETTINGS)
    stage, batch = stage_of("reasoner", source), source.batch(0)
    none = torch.zeros_like(batch.answers)
    none[..., 0] = True
    seg = torch.randn(8, 1, 256)
    assert stage.place_loss(seg, dataclasses.replace(batch, answers=none)) == 0


def test_a_killed_run_resumes_to_the_same_weights(crowded, tmp_path):
    source = CrowdedSource(crowded, SETTINGS)
    straight = stage_of("reasoner", source).train()
    fit(straight, source, SETTINGS, tmp_path / "straight")
    half = dataclasses.replace(SETTINGS, steps=2)
    first = stage_of("reasoner", source).train()
    forward, first.forward = first.forward, None

    def die_late(batch, step):
        if step == half.steps:
            raise KeyboardInterrupt
        return forward(batch, step)

    first.forward = die_late
    with pytest.raises(KeyboardInterrupt):
        fit(first, source, SETTINGS, tmp_path / "killed")
    resumed = stage_of("reasoner", source).train()
    fit(resumed, source, SETTINGS, tmp_path / "killed")
    for (name, a), b in zip(straight.named_parameters(), resumed.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6), name


def test_the_crowded_model_keeps_to_its_budget_and_takes_a_trained_sam(tmp_path):
    model = new_model(common_sentences(), 0, "crowded")
    assert sum(p.numel() for p in model.parameters()) < 14e6
    tokens = model.reasoner.encode_image(torch.zeros(1, 3, 48, 64, dtype=torch.uint8)).tokens
    assert tokens.shape[1] >= 256
    shipped = Path(__file__).parents[2] / "models" / "tabletop"
    take_sam(model, shipped)
    trained = load_model(shipped)
    for part in SAM_PARTS:
        ours, theirs = (m.get_submodule(part).state_dict() for m in (model, trained))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    save_model(tiny_model(), tmp_path, {"licence": "Apache-2.0", "sources": []})
    with pytest.raises(ValueError, match="encoder is EncoderConfig"):
        take_sam(model, tmp_path)


def test_stages_and_starts_that_do_not_fit_are_refused(data, crowded, tmp_path):
    def train(stage, source, **more):
        own = {"config": TrainConfig(batch=2), **more}
        run(Train(stage, source.directory, tmp_path / "run", tmp_path / "out", **own))

    with pytest.raises(ValueError, match=r"--stage is 'tower' and .* has edition 1; allowed there"):
        train("tower", data)
    with pytest.raises(ValueError, match="--sam is a; the prune stage starts from a trained"):
        train("prune", crowded, sam=Path("a"), init=Path("b"))
    with pytest.raises(ValueError, match="--heads is a; the attention stage has no heads"):
        train("attention", crowded, heads=(Path("a"),), init=Path("b"))
    with pytest.raises(ValueError, match="--mosaic is True; it has no effect in the dense stage"):
        train("dense", crowded, config=TrainConfig(batch=2, mosaic=True))
    assert not (tmp_path / "run").exists()


def test_a_stage_can_be_run_by_the_command(crowded, tmp_path):
    save_model(tiny_model(), tmp_path / "start", {"licence": "Apache-2.0", "sources": ["a start"]})
    settings = dataclasses.replace(SETTINGS, steps=1)
    out = tmp_path / "out"
    arguments = ("reasoner", crowded.directory, tmp_path / "run", out, tmp_path / "start")
    run(Train(*arguments, config=settings))
    before, after = (load_model(d).reasoner.projection[0].weight for d in (tmp_path / "start", out))
    assert not torch.equal(before, after)


def test_llava_and_sam_of_two_models_meet_and_both_are_named(crowded, tmp_path):
    for name, seed in (("language", 0), ("kinds", 1)):
        about = {"licence": "Apache-2.0", "sources": [f"made of {name}"]}
        save_model(tiny_model(seed), tmp_path / name, about)
    settings = dataclasses.replace(SETTINGS, steps=1, freeze_encoder=True)
    out = tmp_path / "out"
    starts = {"init": tmp_path / "language", "sam": tmp_path / "kinds"}
    run(Train("dense", crowded.directory, tmp_path / "run", out, config=settings, **starts))
    sources = read_provenance(out)["sources"]
    assert sources[:2] == ["made of language", "SAM: made of kinds"] and len(sources) == 3
    weights = [load_model(d).image_encoder.patch_embed.proj.weight for d in (out, starts["sam"])]
    assert torch.allclose(*weights, atol=1e-3)


def test_a_stage_goes_on_with_the_heads_of_an_earlier_run(crowded, tmp_path):
    settings = dataclasses.replace(SETTINGS, steps=1)
    source = CrowdedSource(crowded, settings)
    tower = stage_of("tower", source, settings).train()
    fit(tower, source, settings, tmp_path)
    reasoner = stage_of("reasoner", source, settings)
    before = {name: p.clone() for name, p in reasoner.named_parameters()}
    take_heads(reasoner, tmp_path)
    for name, parameter in reasoner.named_parameters():
        named = name.startswith(("name_head", "where_head"))
        assert torch.equal(parameter, tower.get_parameter(name) if named else before[name])
    with pytest.raises(ValueError, match=r"checkpoint\.pt does not exist; --heads is"):
        take_heads(reasoner, tmp_path / "nowhere")
    with pytest.raises(ValueError, match="has none of its heads"):
        take_heads(stage_of("prune", source, settings), tmp_path)

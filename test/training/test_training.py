"""Training on a few real scenes with a tiny network: it learns, resumes, and leaves the rest."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from builders import tiny_model

from vltp_ros.checkpoints.model_directory import load_model, read_provenance, save_model
from vltp_ros.cli.stages import FIRST_STAGES, LATER_STAGES
from vltp_ros.cli.train import Train, run
from vltp_ros.data.scenes import TabletopDataset
from vltp_ros.simulation import TASKS
from vltp_ros.training.batches import BatchSource
from vltp_ros.training.config import TrainConfig
from vltp_ros.training.loop import fit
from vltp_ros.training.provenance import SCENES, provenance
from vltp_ros.training.stages import AttentionStage, PrunedStage


def config(**changes) -> TrainConfig:
    return TrainConfig(
        **{"steps": 4, "batch": 2, "tasks_per_image": 2, "warmup": 1, "save_every": 2, **changes}
    )


def test_batches_follow_from_seed_and_step(data):
    one, same, other = (BatchSource(data, TASKS, config()).batch(step) for step in (3, 3, 4))
    torch.testing.assert_close(one.images.int(), same.images.int(), rtol=0, atol=1)
    assert one.tasks == same.tasks
    assert (one.images.float() - other.images.float()).abs().mean() > 1  # of 255
    assert one.images.shape == (2, 3, 480, 640) and one.masks.shape == (4, 480, 640)
    assert one.kinds.shape == (2, 480, 640) and one.kinds.max() <= len(data.kinds)


@pytest.mark.parametrize("mosaic", [False, True])
def test_masks_show_the_kinds_that_serve_the_task(data, mosaic):
    kinds_of = {task.name: task.kinds for task in TASKS}
    task_of = {text: task.name for task in TASKS for text in task.phrasings}
    batch = BatchSource(data, TASKS, config(tasks_per_image=6, mosaic=mosaic)).batch(0)
    for image in range(2):
        for number, text in enumerate(batch.tasks[image]):
            serving = [data.kinds.index(k) + 1 for k in kinds_of[task_of[text]] if k in data.kinds]
            shown = torch.isin(batch.kinds[image], torch.tensor(serving))
            assert torch.equal(batch.masks[6 * image + number], shown)


def test_mosaics_are_square_and_full_of_objects(data):
    batch = BatchSource(data, TASKS, config(mosaic=True)).batch(0)
    assert batch.images.shape == (2, 3, 640, 640) and batch.masks.shape == (4, 640, 640)
    quarters = batch.kinds.unfold(1, 320, 320).unfold(2, 320, 320).flatten(0, 2)
    assert len(quarters) == 8 and all((quarter > 0).any() for quarter in quarters)


@pytest.mark.parametrize("stage", ["encoder", "dense", "attention", "prune"])
def test_each_stage_learns_and_leaves_the_rest_alone(data, tmp_path, stage):
    model, settings = tiny_model(), config(mosaic=stage == "encoder", bfloat16=False)
    before = {name: p.clone() for name, p in model.named_parameters()}
    if stage in FIRST_STAGES[1]:
        module = FIRST_STAGES[1][stage](model, settings, len(data.kinds), len(data.kinds))
    else:
        module = LATER_STAGES[stage](model, settings)
    fit(module, BatchSource(data, TASKS, settings), settings, tmp_path)
    moved = {n for n, p in model.named_parameters() if not torch.equal(before[n], p)}
    assert moved and all(name.startswith(module.trained) for name in moved)
    # lm_head, the vision tower's pooling and unused mask tokens get no gradient; decoders do.
    heart = {
        "encoder": "image_encoder.blocks.3.mlp",
        "dense": "reasoner.projection",
        "attention": "reasoner.llava.model.language_model.layers.4.self_attn",
        "prune": "prune_decoder.neck",
    }[stage]
    assert any(name.startswith(heart) for name in moved)


@pytest.mark.parametrize("top_k", ["hard", "soft"])
def test_the_masks_loss_reaches_the_prune_decoder_by_a_soft_top_k(data, top_k):
    settings = config(top_k=top_k, bfloat16=False, rates=(0.5,))
    stage = PrunedStage(tiny_model(), settings).train()
    losses = stage(BatchSource(data, TASKS, settings).batch(0), 0)

    def moved(loss):
        stage.zero_grad()
        loss.backward(retain_graph=True)
        names = {n for n, p in stage.named_parameters() if p.grad is not None and p.grad.any()}
        assert all(name.startswith(("model.prune", "model.pruned")) for name in names)
        return {name.split(".")[1] for name in names}

    assert moved(losses["prune"]) == {"prune_decoder"}
    reached = {"pruned_mask_decoder"} | ({"prune_decoder"} if top_k == "soft" else set())
    assert moved(losses["mask"]) == reached


def test_a_soft_top_k_computes_what_a_hard_one_does(data):
    losses = []
    for top_k in ("hard", "soft"):
        settings = config(top_k=top_k, bfloat16=False, rates=(0.5,))
        stage = PrunedStage(tiny_model(), settings)
        losses.append(stage(BatchSource(data, TASKS, settings).batch(0), 0)["mask"].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_prune_decoder_learns_alone(data, tmp_path):
    settings = config(freeze_mask_decoder=True, steps=2, bfloat16=False)
    model = tiny_model()
    before = {name: p.clone() for name, p in model.named_parameters()}
    fit(PrunedStage(model, settings), BatchSource(data, TASKS, settings), settings, tmp_path)
    moved = {n for n, p in model.named_parameters() if not torch.equal(before[n], p)}
    assert moved and all(name.startswith("prune_decoder.") for name in moved)


def test_the_model_directory_says_what_it_was_made_of(data, tmp_path):
    save_model(tiny_model(), tmp_path / "dense", {"licence": "Apache-2.0", "sources": ["a start"]})
    settings = config(steps=1, rates=(0.5,), bfloat16=False)
    out = tmp_path / "pruned"
    run(Train("prune", data.directory, tmp_path / "run", out, tmp_path / "dense", settings))
    before, line = read_provenance(out)["sources"]
    assert before == "a start" and line.startswith("vltp train --stage prune: 1 steps of 2")
    trained, start = load_model(out), load_model(tmp_path / "dense")
    assert not torch.equal(trained.prune_decoder.query.weight, start.prune_decoder.query.weight)
    assert torch.equal(trained.mask_decoder.iou_token.weight, start.mask_decoder.iou_token.weight)


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, None), ({"trained_on": SCENES}, SCENES), ({"trained_on": "?"}, f"?, {SCENES}")],
)
def test_a_model_says_what_all_of_it_was_trained_on(data, tmp_path, before, after):
    save_model(tiny_model(), tmp_path / "start", {"licence": "", "sources": [], **before})
    settings, out = config(steps=1, rates=(0.5,), bfloat16=False), tmp_path / "out"
    run(Train("prune", data.directory, tmp_path / "run", out, tmp_path / "start", settings))
    assert read_provenance(out).get("trained_on") == after


def test_a_model_from_nothing_says_so_too_and_merging_keeps_it(tmp_path):
    assert provenance(None, "trained", trained_on=SCENES)["trained_on"] == SCENES
    about = {"licence": "", "sources": [], "trained_on": "photographs"}
    save_model(tiny_model(), tmp_path, about)
    assert provenance(tmp_path, "merged")["trained_on"] == "photographs"
    both = provenance(None, "trained", tmp_path, SCENES)["trained_on"]
    assert both == f"photographs, {SCENES}"


def test_what_lies_at_out_is_not_overwritten_unasked(data, base, tmp_path):
    settings, run_directory = config(steps=1, rates=(0.5,), bfloat16=False), tmp_path / "run"

    def train(out, **options):
        run(Train("prune", data.directory, run_directory, out, base, settings, **options))

    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"a picture")
    for force in (False, True):
        with pytest.raises(ValueError, match=r"photos holds a\.jpg and is no model directory"):
            train(photos, force=force)
    save_model(tiny_model(), out, {"licence": "Apache-2.0", "sources": []})
    with pytest.raises(ValueError, match=r"holds model\.yaml already; .* or --force to overwrite"):
        train(out)
    with pytest.raises(ValueError, match=r"--out is .*, where --run .*run lies; give another"):
        train(run_directory)
    assert not run_directory.exists() and [p.name for p in photos.iterdir()] == ["a.jpg"]
    train(out, force=True)
    assert len(read_provenance(out)["sources"]) == 2


def test_the_prune_stage_makes_the_half_that_a_model_lacks(data, tmp_path):
    provenance = {"licence": "Apache-2.0", "sources": []}
    model = tiny_model(pruned_half=False)
    pruning = dataclasses.replace(model.config.pruning, selector="attention")
    model.config = dataclasses.replace(model.config, pruning=pruning)
    save_model(model, tmp_path / "dense", provenance)
    settings = config(steps=1, rates=(0.7,), bfloat16=False)
    out = tmp_path / "pruned"
    run(Train("prune", data.directory, tmp_path / "run", out, tmp_path / "dense", settings))
    trained = load_model(out)
    assert trained.prune_decoder is not None
    assert trained.config.pruning.selector == "prune_decoder"


def test_the_dense_stage_leaves_a_model_without_a_pruned_half(data, tmp_path):
    provenance = {"licence": "Apache-2.0", "sources": []}
    save_model(tiny_model(pruned_half=False), tmp_path / "start", provenance)
    settings = config(steps=1, bfloat16=False)
    out = tmp_path / "dense"
    run(Train("dense", data.directory, tmp_path / "run", out, tmp_path / "start", settings))
    assert load_model(out).prune_decoder is None


def test_attention_moves_to_what_serves_and_seg_stays(data):
    settings = config(steps=30, batch=3, warmup=2, bfloat16=False, learning_rate=3e-3)
    stage = AttentionStage(tiny_model(), settings).train()
    batch = BatchSource(data, TASKS, settings).batch(0)
    optimiser = torch.optim.AdamW([p for p in stage.parameters() if p.requires_grad], lr=3e-3)
    history = []
    for step in range(settings.steps):
        losses = stage(batch, step)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        history.append({name: value.item() for name, value in losses.items()})
    assert history[-1]["attention"] < history[0]["attention"] - 0.3
    assert history[0]["change"] < 1e-6 and history[-1]["change"] < 0.1


@pytest.mark.parametrize("stage", ["attention", "prune"])
def test_a_stage_without_the_model_it_starts_from_is_refused(data, tmp_path, stage):
    with pytest.raises(ValueError, match="--init is missing"):
        run(Train(stage, data.directory, tmp_path / "run", tmp_path / "out", config=config()))


@pytest.mark.parametrize(
    ("stage", "changes", "reason"),
    [
        ("encoder", {"rates": (0.3,)}, r"--rates is \(0\.3,\); it has no effect in the encoder"),
        ("prune", {"kind_weight": 2.0}, "but in dense on edition 1; reasoner, dense on edition 2"),
        ("dense", {"seg_weight": 1.0}, "--seg-weight is 1.0"),
        ("dense", {"finetune_share": 0.2}, "--finetune-share is 0.2"),
        ("dense", {"freeze_encoder": True}, "--freeze-encoder is True.* but in dense on edition 2"),
        ("dense", {"cut_share": 0.5}, "--cut-share is 0.5"),
        ("encoder", {"empty_share": 0.5}, "--empty-share is 0.5"),
        ("prune", {"naming_tasks": 1}, "--naming-tasks is 1"),
    ],
)
def test_a_setting_that_a_stage_does_not_use_is_refused(data, tmp_path, stage, changes, reason):
    with pytest.raises(ValueError, match=reason):
        settings = config(**changes)
        run(Train(stage, data.directory, tmp_path / "run", tmp_path / "out", config=settings))


def test_a_directory_without_scenes_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"dataset\.json does not exist"):
        TabletopDataset(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"steps": 0}, "steps is 0"), ({"rates": (1.2,)}, "rates is 1.2"), ({"batch": -1}, "batch")],
)
def test_bad_settings_are_refused(change, reason):
    with pytest.raises(ValueError, match=f"TrainConfig.{reason}"):
        TrainConfig(**change)


class Brightness(torch.nn.Module):
    """A stage whose loss is linear in what it learns: its gradient is the mean of the images."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, batch, step):
        return {"loss": self.weight.squeeze() * batch.images.float().mean() / 255}


def test_the_parts_of_a_step_count_alike(data, tmp_path):
    settings = config(steps=1, bfloat16=False, clip=9.0, micro_batch=1)
    source, stage = BatchSource(data, TASKS, settings), Brightness()
    images = source.batch(0).images
    assert [len(part.images) for part in source.parts(0)] == [1, 1]
    fit(stage, source, settings, tmp_path)
    expected = images.float().mean().item() / 255
    assert stage.weight.grad.item() == pytest.approx(expected, rel=1e-4)
    line = json.loads((tmp_path / "losses.jsonl").read_text())
    assert line["loss"] == pytest.approx(expected, abs=1e-4)

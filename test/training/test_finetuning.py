"""Adapters learn on frozen weights, 4-bit ones too; other stages take a LLaVA in 4 bits as well."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import peft
import pytest
import torch
from builders import PROVENANCE, tiny_model

from vltp_ros.checkpoints.adapters import (
    LoraConfig,
    adapter_parameters,
    add_adapter,
    word_parameters,
)
from vltp_ros.checkpoints.model_directory import load_model, read_provenance, save_model
from vltp_ros.cli import finetune, merge, train
from vltp_ros.cli.finetune import Finetune
from vltp_ros.cli.main import main
from vltp_ros.cli.train import Train
from vltp_ros.network.prompts import NO_LABEL
from vltp_ros.runtime.session import Session
from vltp_ros.simulation import TASKS
from vltp_ros.training.batches import BatchSource
from vltp_ros.training.config import FINETUNING
from vltp_ros.training.loop import fit
from vltp_ros.training.optimisers import new_optimisers
from vltp_ros.training.stages import LoraStage, PrunedStage

SETTINGS = dataclasses.replace(FINETUNING, steps=3, batch=2, warmup=1, save_every=2)
EXACT = dataclasses.replace(SETTINGS, bfloat16=False)


def lora_stage(base, quantization="float32", settings=EXACT, lora=None):
    torch.manual_seed(0)
    model = load_model(base, quantization=quantization)
    add_adapter(model.reasoner.llava, lora or LoraConfig())
    return LoraStage(model, settings).train()


def stored(model):
    """Every tensor, 4-bit codes and their scales included."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("quantization", ["float32", "nf4"])
def test_adapters_projection_and_decoder_learn_and_nothing_else(base, data, tmp_path, quantization):
    stage = lora_stage(base, quantization, SETTINGS)
    before = stored(stage.model)
    fit(stage, BatchSource(data, TASKS, SETTINGS), SETTINGS, tmp_path)
    after = stored(stage.model)
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    adapters = {name for name in moved if ".lora_" in name}
    assert len(adapters) == len(adapter_parameters(stage.model.reasoner.llava)) == 8 * 2 * 2
    assert all(name.startswith(LoraStage.trained) for name in moved - adapters)
    assert {"reasoner.projection.0.weight", "mask_decoder.iou_token.weight"} <= moved
    grads = [p.grad for p in adapter_parameters(stage.model.reasoner.llava)]
    assert all(grad.isfinite().all() and grad.any() for grad in grads)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "losses.jsonl").open()]
    assert len(losses) == 3 and np.isfinite(losses).all()


def test_a_checkpoint_holds_what_learns_and_a_killed_run_goes_on_from_it(base, data, tmp_path):
    source = BatchSource(data, TASKS, EXACT)
    straight = lora_stage(base)
    fit(straight, source, EXACT, tmp_path / "straight")
    tensors = torch.load(tmp_path / "straight" / "checkpoint.pt", weights_only=True)["stage"]
    learning = {n for n, p in straight.named_parameters() if p.requires_grad}
    assert tensors.keys() == learning | dict(straight.named_buffers()).keys()
    assert not any("language_model.layers" in name for name in tensors if "lora" not in name)

    killed = lora_stage(base)
    forward = killed.forward

    def die_late(batch, step):
        if step == 2:
            raise KeyboardInterrupt
        return forward(batch, step)

    killed.forward = die_late
    with pytest.raises(KeyboardInterrupt):
        fit(killed, source, EXACT, tmp_path / "killed")
    resumed = lora_stage(base)
    fit(resumed, source, EXACT, tmp_path / "killed")  # dropout draws the same
    for (name, a), b in zip(straight.named_parameters(), resumed.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6), name

    with pytest.raises(ValueError, match=r"checkpoint\.pt is of another run: .*lora_A.* not \(4,"):
        fit(lora_stage(base, lora=LoraConfig(rank=4)), source, EXACT, tmp_path / "killed")


def test_layers_that_run_twice_give_the_same_gradients(base, data):
    batch, gradients = BatchSource(data, TASKS, EXACT).batch(0), []
    for twice in (False, True):
        stage = lora_stage(base, settings=dataclasses.replace(EXACT, gradient_checkpointing=twice))
        torch.manual_seed(1)
        stage(batch, 0)["loss"].backward()
        layers = stage.model.reasoner.llava.model.language_model.layers
        assert all(layer.gradient_checkpointing is twice for layer in layers)
        gradients.append([p.grad for p in stage.parameters() if p.grad is not None])
    for once, again in zip(*gradients, strict=True):
        assert torch.allclose(once, again, rtol=1e-4, atol=1e-7)


AUTHORS = dataclasses.replace(EXACT, token_weight=1.0, train_words=True)


def test_an_answer_is_learnt_word_by_word(base):
    """The labels are what the template has after ASSISTANT:, and the end of the sequence."""
    reasoner = load_model(base).reasoner
    prompts, tokenizer = reasoner.prompts, reasoner.tokenizer
    ids = prompts.answers([["cut", "something to drive a nail"]], 4, torch.device("cpu"))
    said = [[i for i in row if i != NO_LABEL] for row in ids.labels.tolist()]
    assert [tokenizer.decode(row).strip() for row in said] == ["[SEG]</s>"] * 2
    seg = tokenizer.get_vocab()["[SEG]"]
    for row, label, last in zip(ids.text, ids.labels, ids.last, strict=True):
        assert label[last] == seg == row[last + 1]
    prompts._template = "USER: {image} {task} ASSISTANT: Sure, it is [SEG]."
    (label,) = prompts.answers([["cut"]], 4, torch.device("cpu")).labels
    answer = tokenizer.decode(label[label != NO_LABEL])
    assert answer.replace(" ", "") == "sure,itis[SEG].</s>"
    prompts._template = "{image} {task}: [SEG]"
    (label,) = prompts.answers([["cut"]], 4, torch.device("cpu")).labels
    assert tokenizer.decode(label[label != NO_LABEL]) == "[SEG]</s>"


def test_the_answer_s_seg_is_that_of_the_prompt_and_its_words_those_of_llava(base):
    reasoner = load_model(base).reasoner
    images = torch.randint(0, 255, (1, 3, 48, 64), dtype=torch.uint8)
    with torch.no_grad():
        features = reasoner.encode_image(images)
        answer = reasoner.answer(features, [["cut bread", "something to drive a nail"]])
        seg = reasoner(images, [["cut bread", "something to drive a nail"]])
        assert torch.allclose(answer.seg, seg, atol=1e-4)
        ids = reasoner.prompts.answers([["cut bread"]], features.tokens.shape[1], images.device)
        embed = reasoner.llava.get_input_embeddings()
        whole = torch.cat([embed(ids.before), features.tokens[0], embed(ids.text[0])])
        states = reasoner.llava.model.language_model(inputs_embeds=whole[None]).last_hidden_state
        expected = reasoner.llava.lm_head(states)[0, -len(ids.text[0]) :]
        expected = expected[ids.labels[0] != NO_LABEL]
    assert torch.allclose(answer.logits[: len(expected)], expected, atol=1e-3)


@pytest.mark.parametrize("quantization", ["bfloat16", "nf4"])
def test_words_learn_and_are_stored_with_the_adapter(base, data, tmp_path, quantization):
    out, settings = tmp_path / "out", dataclasses.replace(AUTHORS, steps=2, bfloat16=True)
    arguments = (base, data.directory, tmp_path / "run", out, quantization)
    finetune.run(Finetune(*arguments, config=settings))
    first = json.loads((tmp_path / "run" / "losses.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(first["mask"] + first["token"], rel=1e-2)
    learnt = word_parameters(load_model(out, quantization="float32").reasoner.llava)
    before = word_parameters(load_model(base).reasoner.llava)
    assert learnt.keys() == before.keys() and len(learnt) == 1  # this model's tables are one
    for name, table in learnt.items():
        assert 1e-5 < (table - before[name]).abs().max() < 0.1
    llava = load_model(base).reasoner.llava
    peft.PeftModel.from_pretrained(llava, out / "adapter")
    whole = tmp_path / "whole"
    merge.run(merge.Merge(out, whole, "float32"))
    merged = load_model(whole).reasoner.llava
    for name, table in learnt.items():
        for other in (llava, merged):
            assert torch.allclose(word_parameters(other)[name], table, atol=1e-4)


def test_the_papers_optimiser(base):
    (adamw,) = new_optimisers(lora_stage(base), FINETUNING, torch.float32)
    assert type(adamw) is torch.optim.AdamW
    for group in adamw.param_groups:
        assert (group["peak"], group["betas"], group["weight_decay"]) == (3e-4, (0.9, 0.95), 0)


def test_qlora_from_a_model_directory_to_another(base, data, tmp_path):
    out = tmp_path / "out"
    finetune.run(Finetune(base, data.directory, tmp_path / "run", out, "nf4", config=SETTINGS))
    model = load_model(out)
    assert model.config.quantization == "nf4" and adapter_parameters(model.reasoner.llava)
    assert (out / "llava/model.safetensors").samefile(base / "llava/model.safetensors")
    start, line = read_provenance(out)["sources"]
    assert start == "a start" and line.startswith("vltp finetune: 3 steps of 2 tabletop scenes")
    assert line.endswith("LoRA of rank 8") and read_provenance(out)["licence"] == "a licence"
    again = Finetune(base, data.directory, tmp_path / "run", out, "nf4", config=SETTINGS)
    with pytest.raises(ValueError, match=r"out holds model\.yaml already"):
        finetune.run(again)
    again = dataclasses.replace(again, out=tmp_path / "other", lora=LoraConfig(alpha=3))
    with pytest.raises(ValueError, match=r"--lora\.alpha is 3; the run in .* was begun with 16"):
        finetune.run(again)
    image = np.zeros((48, 64, 3), np.uint8)
    session = Session(model, torch.device("cpu"))
    assert session.segment(image, ["cut bread"])[0].mask.shape == (48, 64)


@pytest.mark.parametrize(("start", "quantization"), [("base", "nf4"), ("adapted", "bfloat16")])
def test_the_prune_stage_takes_frozen_weights_of_any_kind(
    request, data, tmp_path, start, quantization
):
    init, run, out = request.getfixturevalue(start), tmp_path / "run", tmp_path / "out"
    settings = dataclasses.replace(SETTINGS, steps=1)
    train.run(Train("prune", data.directory, run, out, init, settings, quantization))
    before, after = stored(load_model(init, quantization=quantization)), stored(load_model(out))
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all(name.startswith(("prune_decoder", "pruned_mask")) for name in moved)
    assert (out / "adapter").exists() is (start == "adapted")


def test_adapters_drop_nothing_where_they_are_frozen(adapted, data):
    stage = PrunedStage(load_model(adapted), EXACT).train()
    batch = BatchSource(data, TASKS, EXACT).batch(0)
    first, second = (stage(batch, 0)["loss"].item() for _ in range(2))
    assert first == pytest.approx(second, rel=1e-5) and stage.model.prune_decoder.training


@pytest.mark.parametrize(
    ("stage", "init", "quantization", "reason"),
    [
        ("dense", "base", "nf4", "--quantization is 'nf4'; allowed here: float32"),
        ("dense", "adapted", None, "adapted has an adapter and the dense stage trains LLaVA's own"),
        ("attention", "base", "bfloat16", "--quantization is 'bfloat16'; allowed here: float32"),
        ("prune", "base", "int8", "--quantization is 'int8'; allowed here: float32, bfloat16, nf4"),
        ("encoder", None, "nf4", "--quantization is 'nf4' and --init is missing"),
        ("finetune", "adapted", None, "adapted has an adapter and a new one would start"),
        ("finetune", "eight", None, r"model\.yaml: quantization is 'int8'; allowed here"),
    ],
)
def test_starts_that_do_not_fit_are_refused(
    base, adapted, data, tmp_path, stage, init, quantization, reason
):
    eight = tiny_model()
    eight.config = dataclasses.replace(eight.config, quantization="int8")
    save_model(eight, tmp_path / "eight", PROVENANCE)
    init = {"base": base, "adapted": adapted, "eight": tmp_path / "eight", None: None}[init]
    run, out = tmp_path / "run", tmp_path / "out"
    with pytest.raises(ValueError, match=reason):
        if stage == "finetune":
            finetune.run(Finetune(init, data.directory, run, out, quantization, config=SETTINGS))
        else:
            train.run(Train(stage, data.directory, run, out, init, SETTINGS, quantization))
    assert not run.exists() and not out.exists()


def test_a_bad_rank_is_said_in_one_place(capsys):
    needed = [word for name in ("init", "data", "run", "out") for word in (f"--{name}", "x")]
    assert main(["finetune", *needed, "--lora.rank", "0"]) == 2
    assert "--lora.rank is 0; it must be at least 1" in capsys.readouterr().err


@pytest.mark.requires_cuda
@pytest.mark.parametrize("quantization", ["float32", "nf4"])
def test_finetuning_on_a_gpu(base, data, tmp_path, quantization):
    out = tmp_path / "out"
    arguments = (base, data.directory, tmp_path / "run", out, quantization, "cuda")
    finetune.run(Finetune(*arguments, config=SETTINGS))
    assert adapter_parameters(load_model(out, "cuda").reasoner.llava)[0].is_cuda

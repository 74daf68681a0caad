"""Adapters on LLaVA: kept apart from its weights, read back, merged; misfits are refused."""

from __future__ import annotations

import json
import shutil
import sys

import peft
import pytest
import torch
from builders import PROVENANCE, random_adapter, tiny_model
from safetensors.torch import load_file, save_file
from transformers import LlamaModel

from vltp_ros.checkpoints.adapters import LoraConfig, adapter_parameters, add_adapter
from vltp_ros.checkpoints.model_directory import (
    ModelError,
    load_model,
    read_description,
    read_provenance,
    save_model,
    write_description,
)
from vltp_ros.cli.merge import Merge, run


@pytest.fixture(scope="module")
def plain_seg(base):
    """<SEG> without the adapter."""
    return seg(load_model(base))


@pytest.fixture
def broken(adapted, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(adapted, tmp_path / "broken")


def sign(directory):
    """Let model.yaml say that the files are as they should be."""
    write_description(directory, read_description(directory)[0], PROVENANCE)


TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-2, "int8": 1e-2, "nf4": 1e-2}
"""Relative, between two runs of the same weights, which may round differently."""


@torch.inference_mode()
def seg(model):
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 255, (1, 3, 48, 64), dtype=torch.uint8, generator=generator)
    return model.reasoner(image, [["something to drive a nail", "a thing that cuts"]]).float()


def distance(value, expected):
    return ((value - expected).norm() / expected.norm()).item()


def test_a_new_adapter_is_in_the_language_model_only_and_changes_nothing(base):
    model = load_model(base)
    before = seg(model)
    add_adapter(model.reasoner.llava, LoraConfig(rank=4, targets=("q_proj", "down_proj")))
    llava = model.eval().reasoner.llava
    assert isinstance(llava.model.language_model, LlamaModel)
    names = {n for n, p in llava.named_parameters() if p.requires_grad}
    assert len(names) == len(adapter_parameters(llava)) == 8 * 2 * 2  # layers, targets, A and B
    assert all(n.startswith("model.language_model.layers.") for n in names)
    assert {p.shape[0] for p in adapter_parameters(llava)[::2]} == {4}
    assert distance(seg(model), before) < 1e-5


@pytest.mark.parametrize("quantization", ["float32", "bfloat16", "int8"])  # nf4: see below
def test_an_adapter_is_read_back_on_weights_of_any_kind(base, adapted, plain_seg, quantization):
    model = random_adapter(load_model(base, quantization=quantization))
    loaded = load_model(adapted, quantization=quantization)
    assert distance(seg(loaded), seg(model)) < TOLERANCE[quantization]
    assert distance(seg(loaded), plain_seg) > 0.5
    assert {p.dtype for p in adapter_parameters(loaded.reasoner.llava)} == {torch.float32}
    assert not any(p.requires_grad for p in loaded.parameters())


def test_a_quantised_model_with_adapters_is_saved_around_its_base(base, tmp_path):
    model = random_adapter(load_model(base, quantization="nf4"))
    save_model(model, tmp_path / "model", PROVENANCE, base=base)
    loaded = load_model(tmp_path / "model")
    assert loaded.config.quantization == "nf4"
    assert distance(seg(loaded), seg(model)) < TOLERANCE["nf4"]
    for path in (base / "llava").iterdir():
        assert path.read_bytes() == (tmp_path / "model" / "llava" / path.name).read_bytes()
    files = set(read_description(tmp_path / "model")[1])
    assert files >= {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}


def test_weights_are_shared_and_small_files_are_not(base, adapted):
    weights, config = (f"llava/{name}" for name in ("model.safetensors", "config.json"))
    assert (adapted / weights).samefile(base / weights)
    assert not (adapted / config).samefile(base / config)


def test_peft_reads_the_adapter_by_itself(base, adapted):
    model = load_model(base)
    peft.PeftModel.from_pretrained(model.reasoner.llava, adapted / "adapter")
    assert distance(seg(model.eval()), seg(load_model(adapted))) < 1e-5


def test_adapters_are_not_saved_as_whole_weights(adapted, tmp_path):
    with pytest.raises(ModelError, match="tiny has an adapter; vltp merge makes whole weights"):
        save_model(load_model(adapted), tmp_path / "model", PROVENANCE)
    assert not (tmp_path / "model").exists()


def test_a_model_without_adapters_replaces_one_with(broken, plain_seg):
    save_model(tiny_model(), broken, PROVENANCE)
    assert not (broken / "adapter").exists()
    assert distance(seg(load_model(broken)), plain_seg) < 1e-5


def test_merged_weights_embed_as_the_adapter_does(adapted, tmp_path):
    run(Merge(adapted, tmp_path / "exact", "float32"))
    merged, expected = load_model(tmp_path / "exact"), seg(load_model(adapted))
    assert not adapter_parameters(merged.reasoner.llava)
    assert distance(seg(merged), expected) < 1e-4
    run(Merge(adapted, tmp_path / "half"))
    merged = load_model(tmp_path / "half")
    assert merged.config.quantization == "bfloat16"
    assert distance(seg(merged), expected) < 0.05
    provenance = read_provenance(tmp_path / "half")
    assert provenance == {**PROVENANCE, "sources": ["a start", "vltp merge --dtype bfloat16"]}


def test_merging_needs_an_adapter_and_a_free_place(base, adapted, tmp_path):
    with pytest.raises(ValueError, match=r"base has no adapter; there is nothing to merge"):
        run(Merge(base, tmp_path / "out"))
    with pytest.raises(ModelError, match=r"holds model\.yaml already"):
        run(Merge(adapted, adapted))
    out = shutil.copytree(adapted, tmp_path / "out")
    run(Merge(adapted, out, "float32", force=True))
    assert not adapter_parameters(load_model(out).reasoner.llava)


def test_an_adapter_that_is_not_finite_is_not_merged(broken, tmp_path):
    path = broken / "adapter" / "adapter_model.safetensors"
    save_file({k: v * torch.nan for k, v in load_file(path).items()}, path)
    sign(broken)
    with pytest.raises(ModelError, match="not finite"):
        run(Merge(broken, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def lose_weights(adapter):
    (adapter / "adapter_model.safetensors").unlink()


def lose_config(adapter):
    (adapter / "adapter_config.json").unlink()


def truncate(adapter):
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def configure(adapter, **changes):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_rank(adapter):
    configure(adapter, r=4)


def change_targets(adapter):
    configure(adapter, target_modules="nothing")


def change_kind(adapter):
    configure(adapter, peft_type="VERA")


def pattern(**changes):
    return lambda adapter: configure(adapter, **changes)


EVIL = r"(.*.*)*\.q_proj"


def scribble(adapter):
    (adapter / "adapter_config.json").write_text("{")


def change_size(adapter):
    path = adapter / "adapter_model.safetensors"
    save_file({k: v[..., :64].contiguous() for k, v in load_file(path).items()}, path)


def drop_tensor(adapter):
    path = adapter / "adapter_model.safetensors"
    save_file(dict(list(load_file(path).items())[1:]), path)


@pytest.mark.parametrize(
    ("spoil", "signed", "reason"),
    [
        (lose_weights, False, r"adapter_model\.safetensors is missing; model\.yaml"),
        (lose_config, True, r"adapter_config\.json is missing"),
        (truncate, False, "is truncated or altered"),
        (truncate, True, "adapter cannot be loaded: "),
        (scribble, True, "adapter cannot be loaded: "),
        (change_rank, True, r"lora_A\.weight is \[8, 128\], expected \[4, 128\]"),
        (change_size, True, r"lora_A\.weight is \[8, 64\], expected \[8, 128\]"),
        (change_targets, True, "adapter cannot be loaded: .*nothing"),
        (pattern(target_modules=EVIL), True, "target_modules is .* none of them after a group"),
        (pattern(target_modules=r".*.*.*.*q_proj"), True, "target_modules is .* at most 3 of"),
        (pattern(rank_pattern={EVIL: 4}), True, "rank_pattern is"),
        (pattern(exclude_modules=EVIL), True, "exclude_modules is"),
        (change_kind, True, r"adapter cannot be loaded: its peft_type is .*; allowed: LORA"),
        (drop_tensor, True, r"weight is missing, expected \[8, 128\]"),
    ],
)
def test_adapters_that_do_not_fit_are_refused(broken, spoil, signed, reason):
    spoil(broken / "adapter")
    if signed:
        sign(broken)
    with pytest.raises(ModelError, match=reason) as refused:
        load_model(broken)
    assert "\n" not in str(refused.value)


def test_a_machine_without_peft_is_told_what_to_install(adapted, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match=r"need peft: pip install '.*\[lora\]'"):
        load_model(adapted)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rank": 0}, "rank is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"targets": ("lm_head",)}, "targets is 'lm_head'; allowed: q_proj"),
        ({"targets": ()}, "targets is empty"),
    ],
)
def test_bad_settings_are_refused(change, reason):
    with pytest.raises(ValueError, match=f"LoraConfig.{reason}"):
        LoraConfig(**change)

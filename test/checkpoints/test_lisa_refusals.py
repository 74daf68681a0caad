"""LISA's checkpoints: whatever does not fit is refused, and nothing is written."""

from __future__ import annotations

import shutil
from collections import namedtuple

import pytest
import torch
from checkpoints import VISION, change_json, cut, names, new_tokenizer
from lisa_checkpoint import change_tensors, convert, lisa_tensors, save_further_files
from transformers import CLIPVisionConfig, CLIPVisionModel

from vltp_ros.checkpoints.model_directory import ModelError
from vltp_ros.cli.main import main


def longer(name):
    return lambda tensors: tensors.update({name: torch.cat([tensors[name], tensors[name][:1]])})


BREAKS = {
    "missing": (
        lambda root: change_tensors(
            root / "lisa", lambda t: t.pop("model.layers.1.mlp.up_proj.weight")
        ),
        r"lisa is not a LISA .* tensors 1 missing: layers\.1\.mlp\.up_proj\.weight$",
    ),
    "unknown": (
        lambda root: change_tensors(
            root / "lisa", lambda t: t.update({"model.extra.weight": torch.ones(1)})
        ),
        r"lisa is not a LISA .* tensors 1 unknown: extra\.weight$",
    ),
    "twice": (
        lambda root: change_tensors(
            root / "lisa", lambda t: t.update({"model.lm_head.weight": t["lm_head.weight"]})
        ),
        r"lisa has \S*lm_head\.weight twice, also as \S*lm_head\.weight$",
    ),
    "shape": (
        lambda root: change_tensors(root / "lisa", longer("model.text_hidden_fcs.0.2.bias")),
        r"type: text_hidden_fcs\.0\.2\.bias \[257\] instead of \[256\]$",
    ),
    "sam of another size": (
        lambda root: change_tensors(
            root / "lisa", longer("model.visual_model.mask_decoder.iou_token.weight")
        ),
        r"visual_model\.mask_decoder\.iou_token\.weight \[2, 256\] instead of \[1, 256\]$",
    ),
    "embedding rows": (
        lambda root: change_tensors(root / "lisa", longer("model.embed_tokens.weight")),
        r"embed_tokens\.weight \[\d+, 64\] instead of \[\d+, 64\]$",
    ),
    "vocabulary": (
        lambda root: change_json(root / "lisa" / "config.json", vocab_size=7),
        r"lisa/config\.json has vocab_size 7, but the tokenizer beside it has \d+ tokens",
    ),
    "no [SEG]": (
        lambda root: new_tokenizer("<im_patch>", "<im_start>", "<im_end>").save_pretrained(
            root / "lisa"
        ),
        r"lisa's tokenizer has no token \[SEG\]; LISA's has one$",
    ),
    "no <im_end>": (
        lambda root: new_tokenizer("<im_patch>", "<im_start>", "[SEG]").save_pretrained(
            root / "lisa"
        ),
        r"lisa's tokenizer has no token <im_end>",
    ),
    "another kind of model": (
        lambda root: change_json(root / "lisa" / "config.json", model_type="llava_mpt"),
        r"lisa/config\.json has model_type 'llava_mpt'; every public LISA has 'llava'$",
    ),
    "LLaVA-1.5's projector": (
        lambda root: change_json(root / "lisa" / "config.json", mm_projector_type="mlp2x_gelu"),
        r"lisa/config\.json has mm_projector_type 'mlp2x_gelu'; every public LISA has 'linear'$",
    ),
    "half of v0's files": (
        lambda root: torch.save({}, root / "lisa" / "pytorch_model-visual_model.bin"),
        r"pytorch_model-text_hidden_fcs\.bin is missing; a LISA of v0 has it and pytorch_model-vis",
    ),
    "v0's files beside v1's": (
        lambda root: save_further_files(lisa_tensors(8), root / "lisa"),
        r"lisa has \S*visual_model\.\S+ twice, also as \S*visual_model\.",
    ),
    "no tokenizer": (
        lambda root: (root / "lisa" / "tokenizer.json").unlink(),
        r"lisa has no tokenizer; it needs tokenizer\.json or tokenizer\.model$",
    ),
    "broken tokenizer": (
        lambda root: (root / "lisa" / "tokenizer.json").write_text('{"added_tokens": [], "a": 1}'),
        r"lisa's tokenizer cannot be read: ",
    ),
    "shard cut short": (
        lambda root: cut(root / "lisa" / "pytorch_model-00002-of-00002.bin"),
        r"pytorch_model-00002-of-00002\.bin is not a checkpoint that torch\.load reads: ",
    ),
    "shard missing": (
        lambda root: (root / "lisa" / "pytorch_model-00002-of-00002.bin").unlink(),
        r"pytorch_model-00002-of-00002\.bin is missing; pytorch_model\.bin\.index\.json .* lists",
    ),
    "index missing": (
        lambda root: (root / "lisa" / "pytorch_model.bin.index.json").unlink(),
        r"lisa has no weight file and no index of shards; allowed: .*pytorch_model\.bin\.index",
    ),
    "index of something else": (
        lambda root: change_json(
            root / "lisa" / "pytorch_model.bin.index.json",
            weight_map={"lm_head.weight": "pytorch_model-00001-of-00002.bin"},
        ),
        r"index\.json does not fit its shards in \d+ tensors: \S+ in pytorch_model-00001-of-00002",
    ),
    "index that is none": (
        lambda root: (root / "lisa" / "pytorch_model.bin.index.json").write_text('{"a": 1}'),
        r"pytorch_model\.bin\.index\.json is not a valid index of shards: KeyError",
    ),
    "no config": (
        lambda root: (root / "lisa" / "config.json").unlink(),
        r"lisa/config\.json does not exist",
    ),
    "config without JSON": (
        lambda root: (root / "lisa" / "config.json").write_text("words"),
        r"lisa/config\.json is not JSON: ",
    ),
    "config without sizes": (
        lambda root: (root / "lisa" / "config.json").write_text('{"hidden_size": 64}'),
        r"config\.json does not say intermediate_size, num_hidden_layers, .*; LISA's does$",
    ),
    "config with a word for a number": (
        lambda root: change_json(root / "lisa" / "config.json", hidden_size="wide"),
        r"lisa/config\.json: the configuration is not valid: .*hidden_size",
    ),
    "another CLIP": (
        lambda root: CLIPVisionModel(
            CLIPVisionConfig(**VISION.to_diff_dict() | {"hidden_size": 32})
        ).save_pretrained(root / "clip"),
        r"clip gives tokens of width 32, the mm_projector in \S+/lisa takes \[48\]: .* another",
    ),
    "CLIP's config of another": (
        lambda root: change_json(
            root / "clip" / "config.json", vision_config=VISION.to_dict() | {"num_hidden_layers": 4}
        ),
        r"clip does not hold the vision tower in its config\.json; tensors 16 missing: vision_tow",
    ),
    "CLIP for no square image": (
        lambda root: change_json(
            root / "clip" / "config.json", vision_config=VISION.to_dict() | {"image_size": [56, 56]}
        ),
        r"CLIP's config\.json has image_size \[56, 56\] and patch_size 14; each must be one",
    ),
    "CLIP cut short": (
        lambda root: cut(root / "clip" / "model.safetensors"),
        r"clip/model\.safetensors is truncated or not a safetensors file: ",
    ),
    "CLIP without weights": (
        lambda root: (root / "clip" / "model.safetensors").unlink(),
        r"clip has no weight file",
    ),
    "CLIP that is not there": (
        lambda root: shutil.rmtree(root / "clip"),
        r"clip/config\.json does not exist",
    ),
}


@pytest.mark.parametrize("case", BREAKS)
def test_what_does_not_fit_is_refused_and_nothing_written(broken_lisa, tmp_path, case):
    damage, reason = BREAKS[case]
    damage(broken_lisa)
    with pytest.raises(ModelError, match=reason) as caught:
        convert(broken_lisa, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["public"]


def test_a_disk_that_is_too_small_is_refused_with_what_is_needed(lisa, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(50_000_000))
    with pytest.raises(ModelError, match=r"out needs 0\.1 GB more and its disk has 0\.1 GB left"):
        convert(lisa.root, tmp_path / "out")
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["model.yaml", "sam.safetensors", "llava"])
def test_a_model_is_not_overwritten(lisa, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ModelError, match=f"holds {name} already; remove it or give another --out"):
        convert(lisa.root, tmp_path)
    assert names(tmp_path) == [name]


def test_a_file_in_the_way_is_refused(lisa, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ModelError, match=r"out is a file; a model needs a directory"):
        convert(lisa.root, tmp_path / "out")


def test_another_sam_than_vit_h_is_one_line_of_the_command(lisa, tmp_path, capsys):
    directory, clip, out = map(str, (lisa.directory, lisa.clip, tmp_path / "out"))
    assert main(["convert", "lisa", directory, "--clip", clip, "--out", out, "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    (line,) = [line for line in captured.err.splitlines() if line.startswith("vltp convert: ")]
    assert "lisa is not a LISA" in line and "visual_model.image_encoder.pos_embed" in line
    assert names(tmp_path) == []

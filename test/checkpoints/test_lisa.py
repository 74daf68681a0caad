"""LISA's checkpoints: what they compute comes through the conversion."""

from __future__ import annotations

import contextlib
import io
import json
import math

import pytest
import torch
import torch.nn.functional as F
import yaml
from checkpoints import HEADS, LAYERS, SAM, TASK, WIDTH, names, new_tokenizer, sam_tensors, whole
from lisa_checkpoint import LAYOUTS, convert, save_lisa
from transformers import CLIPVisionModel, LlavaForConditionalGeneration

from vltp_ros.checkpoints import lisa as lisa_conversion
from vltp_ros.checkpoints.lisa import convert_lisa
from vltp_ros.checkpoints.model_directory import sha256
from vltp_ros.cli.main import main
from vltp_ros.network.preprocessing import llava_input
from vltp_ros.runtime.session import Session
from vltp_ros.runtime.settings import InferenceSettings


def rotate(x):
    """Rotary positions of [heads, n, d], halves of d paired, base 10000."""
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[1]).float()[:, None] * 10000.0 ** (-torch.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)


def llama(tensors, x):
    """LLaMA over embeddings [n, WIDTH], written out."""

    def linear(name, x):
        return x @ tensors[f"{name}.weight"].T

    def norm(name, x):
        scale = (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
        return x * scale * tensors[f"{name}.weight"]

    n = len(x)
    for number in range(LAYERS):
        layer = f"model.layers.{number}"
        h = norm(f"{layer}.input_layernorm", x)
        q, k, v = (
            linear(f"{layer}.self_attn.{c}_proj", h).view(n, HEADS, -1).transpose(0, 1)
            for c in "qkv"
        )
        scores = rotate(q) @ rotate(k).transpose(1, 2) / math.sqrt(WIDTH // HEADS)
        out = (scores + torch.full((n, n), -math.inf).triu(1)).softmax(-1) @ v
        x = x + linear(f"{layer}.self_attn.o_proj", out.transpose(0, 1).reshape(n, -1))
        h = norm(f"{layer}.post_attention_layernorm", x)
        gate = F.silu(linear(f"{layer}.mlp.gate_proj", h))
        x = x + linear(f"{layer}.mlp.down_proj", gate * linear(f"{layer}.mlp.up_proj", h))
    return norm("model.norm", x)


@torch.inference_mode()
def lisa_seg(lisa, image):
    """LISA's <SEG> embedding [256] for its sentence, straight from its files."""
    tensors = {key: value.float() for key, value in lisa.tensors.items()}
    clip = CLIPVisionModel.from_pretrained(lisa.clip, local_files_only=True)
    states = clip(llava_input(image, 56, "crop"), output_hidden_states=True).hidden_states
    patches = F.linear(
        states[-2][0, 1:], tensors["model.mm_projector.weight"], tensors["model.mm_projector.bias"]
    )
    tokenizer = new_tokenizer(*lisa.layout.tokens)
    ids = tokenizer(lisa.layout.sentence).input_ids
    index = ids.index(tokenizer.convert_tokens_to_ids("<im_end>"))
    text = F.embedding(torch.tensor(ids), tensors["model.embed_tokens.weight"])
    states = llama(tensors, torch.cat([text[:index], patches, text[index:]]))
    seg = ids.index(tokenizer.convert_tokens_to_ids("[SEG]")) + len(patches)
    first, second = "model.text_hidden_fcs.0.0", "model.text_hidden_fcs.0.2"
    hidden = F.linear(states[seg - 1], tensors[f"{first}.weight"], tensors[f"{first}.bias"])
    return F.linear(hidden.relu(), tensors[f"{second}.weight"], tensors[f"{second}.bias"])


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.inference_mode()
def test_seg_is_what_lisa_computes_in_every_published_layout(layout, tmp_path):
    lisa = save_lisa(tmp_path, LAYOUTS[layout])
    convert(lisa.root, tmp_path / "out")
    image = torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8)
    expected = lisa_seg(lisa, image)
    reasoner = whole(tmp_path / "out").reasoner
    seg = reasoner(image, [[TASK]])[0, 0]
    assert (seg - expected).norm() < 1e-4 * expected.norm()
    other = reasoner(255 - image, [[TASK]])[0, 0]
    assert (other - expected).norm() > 1e-2 * expected.norm()  # it depends on the image


def test_a_vocabulary_without_a_token_for_the_image_gets_one(tmp_path):
    lisa = save_lisa(tmp_path, LAYOUTS["13B-llama2-v1"])
    convert(lisa.root, tmp_path / "out")
    reasoner = whole(tmp_path / "out").reasoner
    rows = len(lisa.tensors["lm_head.weight"])
    assert reasoner.prompts.image_token == "<im_patch>"
    assert reasoner.llava.config.image_token_id == rows == len(reasoner.tokenizer) - 1
    head = reasoner.llava.lm_head.weight
    assert len(head) == rows + 1 and torch.equal(
        head[:rows], lisa.tensors["lm_head.weight"].float()
    )


def test_sam_and_projection_of_v0_are_named_among_the_sources(tmp_path):
    lisa = save_lisa(tmp_path, LAYOUTS["13B-llama2-v0"])
    convert(lisa.root, tmp_path / "out")
    description = yaml.safe_load((tmp_path / "out" / "model.yaml").read_text())
    sources = {source["file"] for source in description["sources"]}
    assert {
        f"lisa/pytorch_model-{part}.bin" for part in ("visual_model", "text_hidden_fcs")
    } <= sources
    assert "curious user and" in description["config"]["prompt"]


def test_every_tensor_comes_through_unchanged(lisa, converted_lisa):
    model = whole(converted_lisa)
    for name, value in sam_tensors().items():
        assert torch.equal(model.state_dict()[name], value), name
    head = model.reasoner.llava.lm_head.weight
    assert torch.equal(head, lisa.tensors["lm_head.weight"].float())


def test_transformers_reads_it_with_no_name_missing_or_left_over(converted_lisa):
    llava, report = LlavaForConditionalGeneration.from_pretrained(
        converted_lisa / "llava", local_files_only=True, output_loading_info=True
    )
    assert not any(report[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert llava.dtype == torch.bfloat16 and llava.config.image_seq_length == 16
    assert llava.config.vision_feature_layer == -2
    shards = sorted((converted_lisa / "llava").glob("*.safetensors"))
    assert len(shards) > 3 and shards[0].name == f"model-00001-of-{len(shards):05}.safetensors"


def test_the_directory_says_what_it_is(lisa, converted_lisa):
    assert names(converted_lisa) == ["README.md", "dense.safetensors", "llava", "model.yaml"]
    assert names(converted_lisa.parent) == ["lisa_tiny"]
    description = yaml.safe_load((converted_lisa / "model.yaml").read_text())
    assert description["config"]["name"] == "lisa" and description["config"]["framing"] == "crop"
    assert description["config"]["pruning"]["selector"] == "attention"
    assert description["config"]["quantization"] == "nf4"
    assert "non-commercial" in description["licence"]
    shard = "pytorch_model-00001-of-00002.bin"
    listed = {source["file"]: source["sha256"] for source in description["sources"]}
    assert listed.keys() == {
        "clip/model.safetensors", f"lisa/{shard}", "lisa/pytorch_model-00002-of-00002.bin"
    }  # fmt: skip
    assert listed[f"lisa/{shard}"] == sha256(lisa.directory / shard)


def test_it_segments_with_and_without_pruning_by_attention(converted_lisa):
    session = Session.load(converted_lisa, quantization="bfloat16")
    image = torch.randint(0, 256, (48, 64, 3), dtype=torch.uint8).numpy()
    (pruned,) = session.segment(image, [TASK])
    assert pruned.tokens == (50, 50) and pruned.mask.shape == (48, 64)
    session.configure(InferenceSettings(rates=(0.0,)))
    (dense,) = session.segment(image, [TASK])
    assert dense.tokens == () and dense.mask.shape == (48, 64)
    session.configure(InferenceSettings(rates=(0.5,), selector="prune_decoder"))
    with pytest.raises(ValueError, match=r"lisa has no trained prune decoder; .* --stage prune"):
        session.segment(image, [TASK])


def test_a_vision_tower_alone_will_do_for_clip(lisa, converted_lisa, tmp_path):
    clip = CLIPVisionModel.from_pretrained(lisa.clip, local_files_only=True)
    clip.save_pretrained(tmp_path / "clip")
    convert_lisa(lisa.directory, tmp_path / "clip", tmp_path / "out", SAM)
    state = whole(tmp_path / "out").state_dict()
    for name, value in whole(converted_lisa).state_dict().items():
        assert torch.equal(state[name], value), name


def test_the_command_writes_a_directory(lisa, tmp_path, monkeypatch):
    monkeypatch.setattr(lisa_conversion, "model_config", lambda name: {"vit_h": SAM}[name])
    directory, clip, out = map(str, (lisa.directory, lisa.clip, tmp_path / "out"))
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        assert main(["convert", "lisa", directory, "--clip", clip, "--out", out, "--json"]) == 0
    assert json.loads(stdout.getvalue()) == {"out": out, "name": "lisa"}
    assert whole(out).prune_decoder is None

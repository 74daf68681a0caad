"""Tiny LISAs in the published layouts, with values that bfloat16 holds exactly."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from checkpoints import (
    HEADS,
    INNER,
    LAYERS,
    SAM,
    SENTENCE,
    VISION,
    WIDTH,
    exact,
    new_tokenizer,
    rounded,
    sam_tensors,
)
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from vltp_ros.checkpoints.lisa import convert_lisa


@dataclass(frozen=True)
class Layout:
    """How a published checkpoint is stored and asked."""

    tokens: tuple[str, ...]  # beside LLaMA's, in the order of their rows
    in_tokenizer: bool = True  # whether the stored tokenizer has them
    further_files: bool = False  # whether SAM and projection lie in files of their own
    sentence: str = SENTENCE.replace("<im_patch>", "")


BY_CODE = ("[SEG]", "<im_patch>", "<im_start>", "<im_end>")  # in which order v0's code adds them
USER = SENTENCE.replace("<im_patch>", "").replace("human", "user")
LAYOUTS = {
    "7B-v1": Layout(("<im_patch>", "<im_start>", "<im_end>", "[SEG]")),
    "13B-llama2-v1": Layout(("[SEG]", "<im_start>", "<im_end>")),
    "13B-llama2-v0": Layout(BY_CODE, further_files=True, sentence=USER),
    "13B-llama2-v0, tokens in code": Layout(BY_CODE, False, further_files=True, sentence=USER),
}


@dataclass(frozen=True)
class LisaCheckpoint:
    """A checkpoint on disk."""

    root: Path  # the folder of lisa/ and clip/
    tensors: dict[str, Tensor]  # LISA's
    layout: Layout = field(default=LAYOUTS["7B-v1"])

    @property
    def directory(self) -> Path:
        """LISA's own directory."""
        return self.root / "lisa"

    @property
    def clip(self) -> Path:
        """Directory of the vision tower."""
        return self.root / "clip"


def lisa_tensors(vocabulary):
    """The names of LISA-7B-v1 in few layers; half of them in bfloat16."""
    tensors = {
        "lm_head.weight": exact(vocabulary, WIDTH),
        "model.embed_tokens.weight": exact(vocabulary, WIDTH, scale=1),
        "model.norm.weight": exact(WIDTH, scale=1),
        "model.mm_projector.weight": exact(WIDTH, VISION.hidden_size),
        "model.mm_projector.bias": exact(WIDTH),
        "model.text_hidden_fcs.0.0.weight": exact(WIDTH, WIDTH),
        "model.text_hidden_fcs.0.0.bias": exact(WIDTH),
        "model.text_hidden_fcs.0.2.weight": exact(256, WIDTH),
        "model.text_hidden_fcs.0.2.bias": exact(256),
    }
    for number in range(LAYERS):
        layer = f"model.layers.{number}"
        tensors |= {
            f"{layer}.input_layernorm.weight": exact(WIDTH, scale=1),
            f"{layer}.post_attention_layernorm.weight": exact(WIDTH, scale=1),
            f"{layer}.self_attn.q_proj.weight": exact(WIDTH, WIDTH),
            f"{layer}.self_attn.k_proj.weight": exact(WIDTH, WIDTH),
            f"{layer}.self_attn.v_proj.weight": exact(WIDTH, WIDTH),
            f"{layer}.self_attn.o_proj.weight": exact(WIDTH, WIDTH),
            f"{layer}.self_attn.rotary_emb.inv_freq": torch.rand(WIDTH // HEADS // 2),
            f"{layer}.mlp.gate_proj.weight": exact(INNER, WIDTH),
            f"{layer}.mlp.up_proj.weight": exact(INNER, WIDTH),
            f"{layer}.mlp.down_proj.weight": exact(WIDTH, INNER),
        }
    tensors |= {f"model.visual_model.{key}": value for key, value in sam_tensors().items()}
    half = [key for number, key in enumerate(sorted(tensors)) if number % 2]
    return tensors | {key: tensors[key].bfloat16() for key in half}


def save_shards(tensors, directory):
    """PyTorch files as transformers 4 wrote them: two shards and an index."""
    shards = [dict(list(tensors.items())[start::2]) for start in (0, 1)]
    names = [f"pytorch_model-{number:05}-of-00002.bin" for number in (1, 2)]
    for name, shard in zip(names, shards, strict=True):
        torch.save(shard, directory / name)
    weight_map = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def save_further_files(tensors, directory):
    """Write SAM and projection as v0 does, and return the other tensors."""
    rest = dict(tensors)
    for part in ("visual_model", "text_hidden_fcs"):
        prefix = f"model.{part}."
        own = {key: rest.pop(key) for key in tensors if key.startswith(prefix)}
        own = {key.removeprefix("model."): value for key, value in own.items()}
        torch.save(own, directory / f"pytorch_model-{part}.bin")
    return rest


def save_lisa(root, layout=LAYOUTS["7B-v1"]):
    """Write lisa/ and clip/ to a folder."""
    torch.manual_seed(0)
    vocabulary = len(new_tokenizer(*layout.tokens))
    lisa = LisaCheckpoint(root, lisa_tensors(vocabulary), layout)
    new_tokenizer(*(layout.tokens if layout.in_tokenizer else ())).save_pretrained(lisa.directory)
    tensors = lisa.tensors
    if layout.further_files:
        tensors = save_further_files(tensors, lisa.directory)
    save_shards(tensors, lisa.directory)
    config = {
        "model_type": "llava",
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "rms_norm_eps": 1e-05,
        "vocab_size": vocabulary,
        "mm_vision_select_layer": -2,
        "mm_use_im_start_end": True,
        "out_dim": 256,
    }
    (lisa.directory / "config.json").write_text(json.dumps(config))
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 9}
    text["num_attention_heads"] = 2
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=VISION.to_dict()))
    rounded(clip).save_pretrained(lisa.clip)
    return lisa


def change_tensors(directory, change):
    """Rewrite both shards and the index after ``change(all tensors)``."""
    files = sorted(directory.glob("pytorch_model-0*.bin"))
    tensors = {k: v for path in files for k, v in torch.load(path, weights_only=True).items()}
    change(tensors)
    save_shards(tensors, directory)


def convert(root, out):
    """Convert lisa/ and clip/ of a folder to a model directory."""
    return convert_lisa(root / "lisa", root / "clip", out, SAM)

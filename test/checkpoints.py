"""Other tools' checkpoints in small, what is done to them, and how what came of them is read."""

from __future__ import annotations

import dataclasses
import functools
import json

import torch
from builders import SMALL, tiny_model
from tokenizers import Tokenizer
from transformers import CLIPVisionConfig, PreTrainedTokenizerFast

from vltp_ros.checkpoints.model_directory import load_model
from vltp_ros.network.config import PruningConfig, model_config
from vltp_ros.training.new_model import train_tokenizer

whole = functools.partial(load_model, quantization="float32")

SAM = dataclasses.replace(
    model_config("tabletop"),
    name="sam_tiny",
    encoder=SMALL,
    pruning=PruningConfig((2, 3), (0.5, 0.5)),
)
WIDTH, LAYERS, HEADS, INNER = 64, 3, 4, 96
VISION = CLIPVisionConfig(
    hidden_size=48,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    image_size=56,
    patch_size=14,
)
TASK = "something to drive a nail"
SENTENCE = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the human's questions. USER:<im_start><im_patch>"
    "<im_end> something to drive a nail Please output segmentation mask. ASSISTANT:[SEG]."
)


def exact(*shape, scale=0.3):
    """Random numbers that bfloat16 holds, in float32."""
    return (torch.randn(shape) * scale).bfloat16().float()


def rounded(module):
    """A module whose parameters bfloat16 holds."""
    for parameter in module.parameters():
        parameter.data = parameter.data.bfloat16().float()
    return module


def sam_tensors():
    """SAM's three modules in the names of segment_anything."""
    parts = ("image_encoder", "prompt_encoder", "mask_decoder")
    tensors = rounded(tiny_model()).state_dict()
    return {key: value for key, value in tensors.items() if key.startswith(parts)}


def new_tokenizer(*tokens):
    """One that knows SENTENCE, without [SEG] unless it is among these added tokens."""
    trained = train_tokenizer([SENTENCE]).backend_tokenizer.to_str()
    backend = Tokenizer.from_str(trained.replace("[SEG]", "[CUT]"))
    backend.add_tokens(list(tokens))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def names(directory):
    return sorted(p.name for p in directory.iterdir())


def contents(directory):
    return {
        str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()
    }


def change_json(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def cut(path):
    path.write_bytes(path.read_bytes()[:-2000])

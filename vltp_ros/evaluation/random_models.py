"""Models of true sizes with random weights, made where they are measured; no files are needed."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import LlavaForConditionalGeneration

from vltp_ros.checkpoints.llava import PROMPT
from vltp_ros.network.config import LLAVA_SIZES, LlavaSizes, Quantization, model_config
from vltp_ros.network.llava import text_config
from vltp_ros.network.reasoner import Reasoner
from vltp_ros.network.sam import PrunedSam
from vltp_ros.network.vltp import Vltp
from vltp_ros.progress import progress_bar
from vltp_ros.training.new_model import llava_config, train_tokenizer

TASKS = (
    "something to scoop soup with",
    "what could I drive a nail into the wall with?",
    "a thing that cuts",
    "something soft to sit on while waiting",
)
"""Sentences to measure with."""

Sam = TypeVar("Sam", bound=PrunedSam)

STD = 0.02
"""Of random weights: values stay finite through the layers."""


def random_sam(name: str, device: torch.device) -> PrunedSam:
    """Build SAM in one of SAM_ENCODERS' sizes, relative positions random too."""
    torch.manual_seed(0)
    with device:
        model = PrunedSam(model_config(name))
    return _ready(model)


def random_reasoner(size: str, quantization: Quantization, device: torch.device) -> Reasoner:
    """Build LLaVA in one of LLAVA_SIZES; all layers of its language model have the same weights.

    Args:
        size: a key of LLAVA_SIZES.
        quantization: float32, bfloat16 or nf4, which needs bitsandbytes.
        device: where; there is never more on it than the model and one layer in 16 bits.
    """
    sizes: LlavaSizes = LLAVA_SIZES[size]
    tokenizer = train_tokenizer([PROMPT, *TASKS])
    config = llava_config(replace(sizes, layers=2), tokenizer)
    config.tie_word_embeddings = text_config(config).tie_word_embeddings = False  # as LISA's are
    dtype = torch.float32 if quantization == "float32" else torch.bfloat16
    with device:
        llava = LlavaForConditionalGeneration._from_config(config, dtype=dtype)
    torch.manual_seed(0)  # the same values whatever the type, which quantizations are compared by
    for parameter in llava.parameters():
        if parameter.ndim > 1:
            drawn = torch.randn(parameter.shape, device=device)
            parameter.data.copy_(STD * drawn)
    language_model = llava.model.language_model
    layer = language_model.layers[0]
    if quantization == "nf4":
        _quantise(layer)
    copies = progress_bar(range(sizes.layers - 1), desc=f"random LLaVA {size}", unit="layer")
    layers = [layer, *(copy.deepcopy(layer) for _ in copies)]
    language_model.layers = nn.ModuleList(layers)
    text_config(llava.config).num_hidden_layers = sizes.layers
    with device:
        reasoner = Reasoner(llava, tokenizer, PROMPT, "pad")
    return reasoner.eval().requires_grad_(False)


def random_model(sam: str, llava: str, quantization: Quantization, device: torch.device) -> Vltp:
    """Build the whole network in the given sizes."""
    reasoner = random_reasoner(llava, quantization, device)
    config = replace(model_config(sam), quantization=quantization, prompt=PROMPT)
    with device:
        model = Vltp(config, reasoner)
    return _ready(model)


def _ready(model: Sam) -> Sam:
    """Draw the positions too, which start as zeros, and prepare for inference."""
    for key, parameter in model.image_encoder.named_parameters():
        if "rel_pos" in key or key == "pos_embed":
            nn.init.normal_(parameter, std=STD)
    return model.eval().requires_grad_(False)


def _quantise(layer: nn.Module) -> None:
    """Replace the linear layers of a decoder layer by NF4, as loading a model does."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    for parent in list(layer.modules()):
        for name, linear in list(parent.named_children()):
            if isinstance(linear, nn.Linear):
                packed = Linear4bit(
                    linear.in_features,
                    linear.out_features,
                    bias=False,
                    compute_dtype=torch.bfloat16,
                    compress_statistics=True,
                    quant_type="nf4",
                    device="meta",
                )
                weight: Any = Params4bit(
                    linear.weight.data,
                    requires_grad=False,
                    compress_statistics=True,
                    quant_type="nf4",
                )
                packed.weight = weight.to(linear.weight.device)  # which packs it
                setattr(parent, name, packed)

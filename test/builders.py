"""Small random networks for tests, and a full disk."""

from __future__ import annotations

import dataclasses
import resource
from contextlib import contextmanager

import torch

from vltp_ros.checkpoints.adapters import LoraConfig, adapter_parameters, add_adapter
from vltp_ros.data.scenes import TabletopDataset
from vltp_ros.network.config import EncoderConfig, PruningConfig, model_config
from vltp_ros.network.reasoner import Reasoner
from vltp_ros.network.sam import build_image_encoder
from vltp_ros.network.vltp import Vltp
from vltp_ros.simulation import generate_dataset
from vltp_ros.training.new_model import build_llava, train_tokenizer

SMALL = EncoderConfig(160, 16, 32, 4, 2, (1, 2, 3), 4)
"""10 x 10 tokens, so that windows of 4 need padding."""

PROVENANCE = {"licence": "a licence", "sources": ["a start"]}
"""What ``model.yaml`` says of a model made here."""


def crowded_scenes(directory, count: int, split: str = "train", seed: int = 0) -> TabletopDataset:
    """A data set of edition 2."""
    generate_dataset(directory, count, seed, split, workers=1, progress=False, edition=2)
    return TabletopDataset(directory)


def random_encoder(config: EncoderConfig = SMALL, seed: int = 0) -> torch.nn.Module:
    """SAM's image encoder with every parameter random, relative positions and biases included."""
    generator = torch.Generator().manual_seed(seed)
    encoder = build_image_encoder(config).eval()
    for name, parameter in encoder.named_parameters():
        if name.endswith(("bias", "pos_embed")) or "rel_pos" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    return encoder


def random_keep(batch: int, total: int, keep: int, seed: int = 0) -> torch.Tensor:
    """int64 [batch, keep]: distinct indices below ``total``, in random order."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(total, generator=generator)[:keep] for _ in range(batch)])


def relative_error(value: torch.Tensor, expected: torch.Tensor) -> float:
    """|value - expected| / |expected|, in the norm over all elements."""
    value, expected = value.float(), expected.float()
    return ((value - expected).norm() / expected.norm()).item()


def tiny_model(seed: int = 0, pruned_half: bool = True) -> Vltp:
    """The whole network with a small random encoder of 10 x 10 tokens that prunes half, twice."""
    torch.manual_seed(seed)
    config = dataclasses.replace(
        model_config("tabletop"),
        name="tiny",
        encoder=SMALL,
        pruning=PruningConfig((2, 3), (0.5, 0.5)),
    )
    tokenizer = train_tokenizer(["something to drive a nail", config.prompt])
    reasoner = Reasoner(build_llava(tokenizer), tokenizer, config.prompt, config.framing)
    model = Vltp(config, reasoner, pruned_half)
    model.image_encoder = random_encoder(SMALL, seed)
    return model.eval().requires_grad_(False)


def random_adapter(model: Vltp, config: LoraConfig | None = None, seed: int = 0) -> Vltp:
    """The model with adapters that change its <SEG> by much; a new one would change nothing."""
    generator = torch.Generator().manual_seed(seed)
    add_adapter(model.reasoner.llava, config or LoraConfig())
    for parameter in adapter_parameters(model.reasoner.llava):
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    return model.eval().requires_grad_(False)


@contextmanager
def room_for(size: int):
    """Let no file grow beyond so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def assert_same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Compare what two trainings learnt, but for rounding.

    Biases of keys are left out: no softmax changes with them, so that their gradient is rounding
    alone, of which AdamW makes a step as of any other.
    """
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        if not name.endswith("k_proj.bias"):
            assert torch.allclose(tensor, other[name], atol=2e-5, rtol=1e-4), name

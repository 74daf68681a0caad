"""LLaVA's vision tower for training from scratch: CLIP's transformer behind convolutions.

A transformer that starts from random weights needs many images to find out what a convolution is
built to do: to compare a place with its neighbours. A stem of convolutions instead of CLIP's single
strided one mends that (Xiao et al., 2021, "Early convolutions help transformers see better"). All
behind it is transformers' CLIP, so that what is built on its layers and CLS token works alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, CLIPVisionConfig, CLIPVisionModel


@strict
class ConvStemConfig(CLIPVisionConfig):
    """Sizes of a :class:`ConvStemModel`."""

    model_type = "clip_conv_stem"

    stem: tuple[tuple[int, int, int], ...] | list[list[int]] = ((48, 5, 1), (96, 2, 1), (192, 2, 1))
    """Of each part its channels, stride and blocks; strides make up patch_size, and the last has
    hidden_size channels."""


class ConvStemModel(CLIPVisionModel):
    """CLIP's vision model with a stem of convolutions as its patch embedding."""

    config: ConvStemConfig
    config_class = ConvStemConfig

    def __init__(self, config: ConvStemConfig) -> None:
        strides = math.prod(stride for _, stride, _ in config.stem)
        width = config.stem[-1][0]
        if strides != config.patch_size or width != config.hidden_size:
            raise ValueError(
                f"stem is {config.stem}, with strides of {strides} in all and {width} channels at "
                f"the end; they must be patch_size {config.patch_size} and hidden_size "
                f"{config.hidden_size}"
            )
        super().__init__(config)
        stem = ConvStem(config.num_channels, config.stem)
        self.embeddings.add_module("patch_embedding", stem)


class ConvStem(nn.Sequential):
    """Strided convolutions, each with residual blocks behind it."""

    def __init__(self, channels: int, parts: Iterable[Iterable[int]]) -> None:
        modules: list[nn.Module] = []
        for width, stride, blocks in parts:
            modules += [Shrink(channels, width, stride), *(ConvBlock(width) for _ in range(blocks))]
            channels = width
        super().__init__(*modules)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return [B, hidden size, rows, columns] of patches for pixels [B, 3, H, W]."""
        # Channels last is what matrix units of CPUs and GPUs take in convolutions.
        return super().forward(pixels.contiguous(memory_format=torch.channels_last))

    @property
    def weight(self) -> Tensor:
        """The first weight, in whose type CLIP passes the image in."""
        return next(self.parameters())


class Shrink(nn.Sequential):
    """A strided convolution that looks a pixel past its stride, and a norm."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        side = stride + 2
        super().__init__(
            nn.Conv2d(channels, width, side, stride, padding=1), nn.GroupNorm(1, width)
        )


class ConvBlock(nn.Module):
    """Adds what two 3 x 3 convolutions make of their input [B, C, H, W]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, H, W]."""
        return x + self.conv2(F.gelu(self.conv1(self.norm(x))))


def register() -> None:
    """Let transformers build and load these classes wherever a configuration names them."""
    AutoConfig.register(ConvStemConfig.model_type, ConvStemConfig, exist_ok=True)
    AutoModel.register(ConvStemConfig, ConvStemModel, exist_ok=True)

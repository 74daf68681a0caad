"""SAM's convolutions, with its norms over channels between them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.image_encoder import PatchEmbed
from torch import Tensor, nn

from vltp_ros.network.winograd import fits_winograd, winograd


def embed_patches(embedding: PatchEmbed, images: Tensor) -> Tensor:
    """Embed the patches of images [B, 3, S, S] in the type of the weights: [B, S / p, S / p, C].

    Patches do not overlap, so that a product of them does it: cuDNN has no tensor cores for a
    convolution of three channels. A compiler has a way of its own for the convolution.
    """
    proj = embedding.proj
    images = images.to(proj.weight.dtype)
    if torch.jit.is_tracing():
        return embedding(images)
    rows, columns = proj.kernel_size
    patches = images.unflatten(3, (-1, columns)).unflatten(2, (-1, rows)).permute(0, 2, 4, 1, 3, 5)
    return F.linear(patches.flatten(3), proj.weight.flatten(1), proj.bias)


def run_convolutions(layers: nn.Sequential, image: Tensor) -> Tensor:
    """Run a neck's or an upscaling's layers over features [B, C, rows, columns].

    ``LayerNorm2d`` is computed by PyTorch's own norm: in one pass instead of five, and with
    statistics in float32 whatever the type of the features. A compiler, which traces, makes one
    pass of the five by itself, and does not move the channels for it. It does not know Winograd's
    method, by which wide convolutions take half the time on a CPU; for a GPU, cuDNN does.
    """
    is_traced = torch.jit.is_tracing()
    for layer in layers:
        if isinstance(layer, LayerNorm2d) and not is_traced:
            channels_last = image.permute(0, 2, 3, 1)
            normed = F.layer_norm(
                channels_last, layer.weight.shape, layer.weight, layer.bias, layer.eps
            )
            image = normed.permute(0, 3, 1, 2)
        elif isinstance(layer, nn.Conv2d) and is_traced and fits_winograd(layer, image):
            image = winograd(image, layer.weight)
        else:
            image = layer(image)
    return image

"""Image frames: camera pixels, SAM's padded square, LLaVA's square, and back."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import functional as images

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def fitted_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Return height and width after scaling the longest side to ``side``, as SAM rounds them."""
    scale = side / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def resize(image: Tensor, rows: int, columns: int) -> Tensor:
    """Scale images [..., h, w] with antialiasing, to the type that they have.

    PyTorch has a kernel for bytes on a CPU, which rounds as Pillow does, five times as fast as
    torchvision's way over floats; a byte may differ by one.
    """
    if image.dtype is torch.uint8 and image.device.type == "cpu" and image.ndim == 4:
        return F.interpolate(image, (rows, columns), mode="bilinear", antialias=True)
    return images.resize(image, [rows, columns], antialias=True)


def sam_input(image: Tensor, side: int, mean: Tensor, std: Tensor) -> Tensor:
    """Scale images to ``side``, normalise them, and zero-pad them at the bottom and right.

    Args:
        image: uint8 [B, 3, H, W] RGB.
        side: of the square, pixels.
        mean: [3], in 0..255.
        std: [3], in 0..255.

    Returns:
        float [B, 3, side, side].
    """
    height, width = image.shape[-2:]
    rows, columns = fitted_size(height, width, side)
    scaled = resize(image, rows, columns).float()
    scaled = (scaled - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    return F.pad(scaled, (0, side - columns, 0, side - rows))


def llava_input(image: Tensor, side: int, framing: str) -> Tensor:
    """Make the image square, scale it to ``side`` and normalise it as CLIP does.

    Args:
        image: uint8 [B, 3, H, W] RGB.
        side: of the square, pixels.
        framing: "pad" keeps the whole image, centred on the mean colour; "crop" takes the middle.

    Returns:
        float [B, 3, side, side].
    """
    mean, std = _clip_statistics(image.device)
    scaled, padding = _fitted(image, side, framing)
    return F.pad((scaled.float() / 255 - mean) / std, padding)


# Made once on the device, as a copy from the host would be waited for.
@cache
@torch.inference_mode(False)
def _clip_statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return CLIP's mean and deviation, [3, 1, 1] each, of values in 0..1."""
    mean, std = (torch.tensor(values, device=device) for values in (CLIP_MEAN, CLIP_STD))
    return mean.view(3, 1, 1), std.view(3, 1, 1)


def to_llava_frame(values: Tensor, side: int, framing: str) -> Tensor:
    """Map float [B, H, W] over the image to [B, side, side] over LLaVA's square input.

    It is 0 where :func:`llava_input` pads.
    """
    scaled, padding = _fitted(values, side, framing)
    return F.pad(scaled, padding)


def _fitted(image: Tensor, side: int, framing: str) -> tuple[Tensor, tuple[int, int, int, int]]:
    """Return the part of [..., H, W] that LLaVA gets, scaled, and what pads it to a square."""
    height, width = image.shape[-2:]
    if framing == "crop":
        edge = min(height, width)
        top, left = (height - edge) // 2, (width - edge) // 2
        middle = image[..., top : top + edge, left : left + edge]
        return resize(middle, side, side), (0, 0, 0, 0)
    rows, columns = fitted_size(height, width, side)
    top, left = (side - rows) // 2, (side - columns) // 2
    padding = (left, side - columns - left, top, side - rows - top)
    return resize(image, rows, columns), padding


def from_llava_frame(values: Tensor, size: tuple[int, int], framing: str) -> Tensor:
    """Map values over LLaVA's square input to the image.

    Args:
        values: float [B, g, g].
        size: of the image, rows and columns, pixels.
        framing: as for :func:`llava_input`.

    Returns:
        float [B, h, w] over the whole image, its longest side 16 * g; where "crop" has cut the
        image, what is missing is as low as the lowest value.
    """
    side = 16 * values.shape[-1]
    rows, columns = fitted_size(*size, side)
    if framing == "crop":
        edge = min(rows, columns)
        inside = F.interpolate(values.unsqueeze(1), (edge, edge), mode="bilinear").squeeze(1)
        whole = values.amin((1, 2)).view(-1, 1, 1).repeat(1, rows, columns)
        top, left = (rows - edge) // 2, (columns - edge) // 2
        whole[:, top : top + edge, left : left + edge] = inside
        return whole
    square = F.interpolate(values.unsqueeze(1), (side, side), mode="bilinear").squeeze(1)
    top, left = (side - rows) // 2, (side - columns) // 2
    return square[:, top : top + rows, left : left + columns]


def to_image_frame(logits: Tensor, side: int, size: tuple[int, int]) -> Tensor:
    """Map logits [B, h, w] over SAM's padded square to [B, H, W] over the image of ``size``."""
    fitted = fitted_size(*size, side)
    square = F.interpolate(logits.unsqueeze(1), (side, side), mode="bilinear")
    return F.interpolate(square[..., : fitted[0], : fitted[1]], size, mode="bilinear").squeeze(1)


def to_square_frame(mask: Tensor, side: int) -> Tensor:
    """Map masks [B, H, W] over the image to bool [B, side, side] over SAM's padded square.

    A pixel of the square is positive if it covers any of a positive one: a patch with a single
    positive pixel is positive (Eq. 13), however much the image is scaled down.
    """
    height, width = mask.shape[-2:]
    rows, columns = fitted_size(height, width, side)
    positive = (mask > 0).float().unsqueeze(1)
    scaled = F.adaptive_max_pool2d(positive, (rows, columns)).squeeze(1) > 0
    return F.pad(scaled, (0, side - columns, 0, side - rows))


def valid_grid(size: tuple[int, int], side: int, patch: int) -> tuple[int, int]:
    """Count the rows and columns of patches that hold some of the image, not only padding."""
    height, width = fitted_size(*size, side)
    return -(-height // patch), -(-width // patch)

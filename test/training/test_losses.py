"""Losses at their ends, and at the pixels and weights that they are asked for."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from vltp_ros.training import stages
from vltp_ros.training.losses import attention_loss, dice_loss, mask_loss, pruning_loss
from vltp_ros.training.stages import image_mask_loss


def test_attention_loss_is_a_cross_entropy_that_skips_empty_targets():
    attention, share = torch.full((2, 2, 2), 0.2), torch.zeros(2, 2, 2)
    assert attention_loss(attention, share) == 0
    share[0, 0, 0] = 0.7
    assert attention_loss(attention, share).item() == pytest.approx(math.log(4), rel=1e-5)
    attention[0, 0, 0] = 9.0
    assert attention_loss(attention, share) < 0.1


def test_losses_at_their_ends():
    target = torch.zeros(2, 8, 8)
    target[0, :4] = 1
    right, wrong = (target * 2 - 1) * 50, (1 - target * 2) * 50
    assert mask_loss(right, target) < 0.01 < 1 < mask_loss(wrong, target)
    assert dice_loss(right, target).item() == pytest.approx(0, abs=1e-4)
    assert dice_loss(torch.full((1, 8, 8), 50.0), torch.zeros(1, 8, 8)) > 0.9  # asks for nothing
    patches = target.flatten(1)
    both = pruning_loss((right.flatten(1), wrong.flatten(1)), patches)
    one = mask_loss(wrong.flatten(1), patches)
    assert both.item() == pytest.approx(one.item() / 2, rel=0.01)


def test_what_is_ignored_has_no_weight_in_a_mask_s_loss():
    masks = torch.zeros(1, 96, 128, dtype=torch.bool)
    masks[:, :48] = True
    right = torch.full((1, 32, 32), -50.0)
    right[:, :12] = 50.0  # the image fills 24 of 32 rows
    ignored = torch.zeros_like(masks)
    ignored[:, 24:48] = True
    wrong = right.clone()
    wrong[:, 6:12] = -50.0
    for size in ("half", "input", "original"):
        compare = partial(image_mask_loss, masks=masks, side=128, mask_size=size)
        assert compare(right) < 0.1 < 1 < compare(wrong)
        assert compare(wrong, ignored=ignored) < 0.5 * compare(wrong)  # outlines are blurred
        assert compare(wrong, ignored=torch.ones_like(masks)) == pytest.approx(0, abs=1e-4)


def test_masks_are_compared_at_the_pixels_asked_for(monkeypatch):
    shapes = []
    monkeypatch.setattr(stages, "mask_loss", lambda logits, *_: shapes.append(logits.shape))
    for size in ("half", "input", "original"):
        image_mask_loss(torch.zeros(1, 32, 32), torch.zeros(1, 48, 64), 128, size)
    assert shapes == [(1, 48, 64), (1, 96, 128), (1, 48, 64)]

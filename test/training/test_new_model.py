"""How a new model starts."""

from __future__ import annotations

import torch

from vltp_ros.training.new_model import NEARBY, new_model


def test_heads_of_the_tower_start_by_looking_nearby():
    tower = new_model(["find the lamp"], 0, "crowded").reasoner.llava.model.vision_tower
    tower.set_attn_implementation("eager")
    pixels = torch.randn(1, 3, 320, 320, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        attentions = tower(pixels, output_attentions=True).attentions
    first = attentions[0][0, :, 1:, 1:].unflatten(1, (16, 16)).unflatten(3, (16, 16))
    for head, (down, right) in enumerate(NEARBY):
        best = first[head, 8, 8].flatten().argmax().item()
        assert divmod(best, 16) == (8 + down, 8 + right)
    assert first[len(NEARBY) :, 8, 8].max() < 0.05
    for layer in attentions:
        assert layer[0, : len(NEARBY), 137, 1:].unflatten(1, (16, 16))[:, 6:11, 6:11].sum() > 3

"""The pruned encoder against segment_anything's own, and against a slow, obvious reference."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from builders import SMALL, random_encoder, random_keep, relative_error
from segment_anything.modeling.image_encoder import get_rel_pos

from vltp_ros.network import windows
from vltp_ros.network.config import SAM_ENCODERS
from vltp_ros.network.encoder import PrunedImageEncoder
from vltp_ros.network.token_selection import oracle_scores, top_k


def keep_all(stage: int, tokens: torch.Tensor) -> torch.Tensor:
    return random_keep(len(tokens), tokens.shape[1], tokens.shape[1], seed=stage)


SHALLOW = {"tabletop": 8, "vit_b": 4, "vit_l": 4, "vit_h": 4}
"""Blocks of each size that are run, every other one of them global: all blocks are alike."""


@pytest.mark.parametrize("size", SHALLOW)
@torch.inference_mode()
def test_rate_zero_equals_the_official_encoder(size):
    depth = SHALLOW[size]
    config = dataclasses.replace(
        SAM_ENCODERS[size], depth=depth, global_attn_indexes=tuple(range(1, depth, 2))
    )
    if size in ("vit_l", "vit_h"):  # ViT-B's windows and pads, and wider tokens
        config = dataclasses.replace(config, img_size=512)
    official = random_encoder(config)
    assert any("rel_pos" in n and p.abs().max() > 0 for n, p in official.named_parameters())
    images = torch.randn(1, 3, config.img_size, config.img_size)
    expected = official(images)
    # Before the stages all tokens run in raster order, after them as gathered ones.
    kept_all = PrunedImageEncoder(official, (2,) if depth == 4 else (2, 4))(images, keep_all)
    assert relative_error(kept_all.features, expected) < 1e-4
    if size in ("tabletop", "vit_b"):
        assert relative_error(PrunedImageEncoder(official, ())(images).features, expected) < 1e-4


def test_training_computes_what_the_official_encoder_does():
    encoder = random_encoder(SAM_ENCODERS["tabletop"])
    images = torch.randn(1, 3, 512, 512)
    parameters = [p for n, p in encoder.named_parameters() if "rel_pos" in n or "qkv.weight" in n]
    outcomes = []
    for features in (encoder(images), PrunedImageEncoder(encoder, ())(images).features):
        outcomes.append((features, torch.autograd.grad(features.square().mean(), parameters)))
    (expected, official), (features, ours) = outcomes
    assert relative_error(features, expected) < 1e-4
    for gradient, right in zip(ours, official, strict=True):
        assert relative_error(gradient, right) < 1e-3


def reference_block(block, tokens, grid, present):
    """One block over ALL tokens [N, C], explicit N x N masks; absent tokens come out unchanged."""
    height, width = grid
    size = block.window_size or max(grid)
    rows, columns = -(-height // size) * size, -(-width // size) * size
    attn, heads = block.attn, block.attn.num_heads
    padded = torch.zeros(rows, columns, tokens.shape[-1])
    padded[:height, :width] = block.norm1(tokens).view(height, width, -1)
    keys = torch.ones(rows, columns, dtype=torch.bool)  # pads are keys
    keys[:height, :width] = present.view(height, width)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    y, x = y.flatten(), x.flatten()
    q, k, v = attn.qkv(padded.flatten(0, 1)).view(rows * columns, 3, heads, -1).permute(1, 2, 0, 3)
    logits = (q * attn.scale) @ k.transpose(1, 2)
    table_h = get_rel_pos(size, size, attn.rel_pos_h)
    table_w = get_rel_pos(size, size, attn.rel_pos_w)
    logits += torch.einsum("hqc,qkc->hqk", q, table_h[(y % size)[:, None], (y % size)[None]])
    logits += torch.einsum("hqc,qkc->hqk", q, table_w[(x % size)[:, None], (x % size)[None]])
    same = (y[:, None] // size == y[None] // size) & (x[:, None] // size == x[None] // size)
    logits = logits.masked_fill(~(same & keys.flatten()[None]), float("-inf"))
    out = (logits.softmax(-1) @ v).transpose(0, 1).reshape(rows, columns, -1)
    out = attn.proj(out[:height, :width].flatten(0, 1))
    active = tokens + out
    active = active + block.mlp(block.norm2(active))
    return torch.where(present[:, None], active, tokens)


LAYOUTS = {
    "several tiles in a window": (4, {"TILE": 5}),
    "one tile in a window": (4, {}),
    "no padding": (5, {"FEW": 0}),
    "few tokens without padding": (5, {}),
}
"""Side of a window, of a grid of 10 x 10 tokens, and what is set in vltp_ros.network.windows."""


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("keep", [1, 13, 50, 99])
@torch.inference_mode()
def test_pruned_forward_equals_explicit_masks_over_all_tokens(keep, layout, monkeypatch):
    side, settings = LAYOUTS[layout]
    for name, value in settings.items():
        monkeypatch.setattr(windows, name, value)
    official = random_encoder(dataclasses.replace(SMALL, window_size=side))
    encoder = PrunedImageEncoder(official, (2, 3))
    images = torch.randn(2, 3, 160, 160)
    chosen = [random_keep(2, 100, keep, seed) for seed in (1, 2)]
    output = encoder(images, lambda stage, tokens: chosen[stage])
    for item in range(2):
        tokens = official.patch_embed(images[item : item + 1]) + official.pos_embed
        tokens = tokens.view(100, -1)
        for layer, block in enumerate(official.blocks, start=1):
            present = torch.ones(100, dtype=torch.bool)
            if layer > 2:
                present[:] = False
                present[chosen[layer - 3][item]] = True
            tokens = reference_block(block, tokens, (10, 10), present)
        expected = official.neck(tokens.view(1, 10, 10, -1).permute(0, 3, 1, 2))
        assert relative_error(output.features[item : item + 1], expected) < 1e-5


@torch.inference_mode()
def test_frozen_tokens_keep_their_value_and_can_return():
    encoder = PrunedImageEncoder(random_encoder(), (2, 3))
    images = torch.randn(1, 3, 160, 160)
    first, second = torch.arange(50).unsqueeze(0), torch.arange(30, 80).unsqueeze(0)
    inputs = []

    def select(stage, tokens):
        inputs.append(tokens.clone())
        return (first, second)[stage]

    final = {}
    neck = encoder.image_encoder.neck
    neck[0].register_forward_pre_hook(lambda m, args: final.update(x=args[0]))
    out = encoder(images, select)
    before, after = inputs
    final = final["x"].permute(0, 2, 3, 1).flatten(1, 2)
    assert torch.equal(before[:, 50:], after[:, 50:])
    assert not torch.isclose(before[:, :50], after[:, :50]).all(-1).any()
    assert torch.equal(out.kept[0], first) and torch.equal(out.kept[1], second)
    # 50..79 were frozen at the first stage and came back at the second: only they and 30..49 moved.
    assert torch.equal(final[:, :30], after[:, :30]) and torch.equal(final[:, 80:], after[:, 80:])
    assert not torch.isclose(final[:, 30:80], after[:, 30:80]).all(-1).any()


@torch.inference_mode()
def test_order_of_kept_indices_does_not_matter():
    encoder = PrunedImageEncoder(random_encoder(), (2, 3))
    images = torch.randn(1, 3, 160, 160)
    keep = random_keep(1, 100, 37)
    shuffled = keep[:, torch.randperm(37, generator=torch.Generator().manual_seed(3))]
    a = encoder(images, lambda stage, tokens: keep).features
    b = encoder(images, lambda stage, tokens: shuffled).features
    assert relative_error(a, b) < 1e-5


@torch.inference_mode()
def test_oracle_with_all_tokens_equals_dense():
    official = random_encoder()
    images = torch.randn(2, 3, 160, 160)
    mask = torch.zeros(2, 160, 160)
    mask[:, 30:70, 50:120] = 1
    scores = oracle_scores(mask, (10, 10))
    dense = PrunedImageEncoder(official, ())(images).features
    pruned = PrunedImageEncoder(official, (2, 3))(images, lambda stage, t: top_k(scores, 100))
    assert relative_error(pruned.features, dense) < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.inference_mode()
def test_half_precision_stays_close(dtype):
    encoder = PrunedImageEncoder(random_encoder(), (2, 3))
    images = torch.randn(2, 3, 160, 160)
    keep = random_keep(2, 100, 37)
    exact = encoder(images, lambda stage, tokens: keep).features
    with torch.autocast("cpu", dtype):
        rough = encoder(images, lambda stage, tokens: keep).features
    assert relative_error(rough.float(), exact) < 0.03
    halved = encoder.to(dtype)(images.to(dtype), lambda stage, tokens: keep).features
    assert halved.dtype is dtype and relative_error(halved.float(), exact) < 0.03


@torch.inference_mode()
def test_several_tasks_share_the_stem_and_equal_one_at_a_time():
    encoder = PrunedImageEncoder(random_encoder(), (2, 3))
    stem = encoder.stem(torch.randn(1, 3, 160, 160))
    keep = random_keep(3, 100, 40)
    together = encoder.finish(stem.expand(3, -1, -1), lambda s, t: keep).features
    for i in range(3):
        alone = encoder.finish(stem, lambda s, t, i=i: keep[i : i + 1]).features
        assert relative_error(together[i : i + 1], alone) < 1e-5


def test_gradients_reach_kept_tokens_through_the_pruned_blocks():
    encoder = PrunedImageEncoder(random_encoder(), (2,))
    images = torch.randn(1, 3, 160, 160)
    encoder(images, lambda s, t: random_keep(1, 100, 20)).features.sum().backward()
    assert all(p.grad is not None for p in encoder.image_encoder.parameters())


@pytest.mark.parametrize("stages", [(1,), (4,), (0,), (3, 2), (2, 2), (9,)])
def test_unknown_stages_are_refused(stages):
    with pytest.raises(ValueError, match=r"prune_after is .*allowed.*\[2, 3\]"):
        PrunedImageEncoder(random_encoder(SMALL), stages)


def test_wrong_images_and_selections_are_refused():
    encoder = PrunedImageEncoder(random_encoder(), (2,))
    with pytest.raises(ValueError, match=r"\(1, 3, 64, 64\).*160"):
        encoder(torch.zeros(1, 3, 64, 64))
    images = torch.zeros(1, 3, 160, 160)
    with pytest.raises(ValueError, match=r"select is None.*\(2,\)"):
        encoder(images)
    for bad in (torch.zeros(1, 5), torch.zeros(2, 5).long(), torch.zeros(1, 101).long()):
        with pytest.raises(ValueError, match="stage 0; allowed: int64"):
            encoder(images, lambda stage, tokens, bad=bad: bad)

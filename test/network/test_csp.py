"""LVLM_CSP and the prefill against transformers' own layers with explicit masks over all tokens."""

from __future__ import annotations

import copy

import pytest
import torch
from builders import tiny_model
from transformers.models.clip.modeling_clip import CLIPEncoder

from vltp_ros.network.csp import CSP_PRESETS, CspConfig, image_token_gmacs, spans
from vltp_ros.network.representatives import random, seg_first, uniform

TASKS = ["something to drive a nail", "cut", "what could I drink from before I go to bed?"]


@pytest.fixture(scope="module")
def reasoner():
    return tiny_model().reasoner


@pytest.fixture(scope="module")
def image():
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 255, (1, 3, 48, 64), dtype=torch.uint8, generator=generator)


def reference(reasoner, image_tokens, task, plan, representatives):
    """<SEG> and the image tokens kept last: all tokens in every layer, absent ones masked out."""
    tokenizer, model = reasoner.tokenizer, reasoner.llava.model.language_model
    total = len(image_tokens)
    text = reasoner.prompt.replace("{image}", "<image>" * total).replace("{task}", task)
    ids = tokenizer(text, return_tensors="pt").input_ids[0]
    positions = (ids == tokenizer.convert_tokens_to_ids("<image>")).nonzero().flatten()
    read_out = (ids == tokenizer.convert_tokens_to_ids("[SEG]")).nonzero().item() - 1
    embedded = reasoner.llava.get_input_embeddings()(ids)
    embedded[positions] = image_tokens
    states, best = embedded.unsqueeze(0), None
    angles = model.rotary_emb(states, torch.arange(len(ids)).unsqueeze(0))
    model.set_attn_implementation("eager")
    for number, layer in enumerate(model.layers):
        present = torch.ones(len(ids), dtype=torch.bool)
        if number < plan.scatter_from:
            present[positions] = False
            present[positions[representatives]] = True
        elif number >= plan.prune_from:
            present[positions] = False
            present[positions[best]] = True
        mask = torch.full((len(ids), len(ids)), float("-inf")).triu(1)
        mask[:, ~present] = float("-inf")
        mask[range(len(ids)), range(len(ids))] = 0.0  # an absent query must attend to something
        normed = layer.input_layernorm(states)
        _, weights = layer.self_attn(normed, angles, mask[None, None])
        after = layer(states, attention_mask=mask[None, None], position_embeddings=angles)
        states = torch.where(present[:, None], after, states)
        if number == plan.prune_from - 1:
            best = weights[0, :, read_out, positions].mean(0).topk(plan.kept).indices.sort().values
    model.set_attn_implementation("sdpa")
    return reasoner.projection(model.norm(states[:, read_out])), best


@pytest.mark.parametrize(
    "config",
    [
        CSP_PRESETS["65"],
        CSP_PRESETS["70"],
        CspConfig(0.0, 0.5, kept=0.25),
        CspConfig(0.5, 1.0, clustered=0.1),
        CspConfig(0.25, 0.75, clustered=0.3, kept=0.1),
    ],
)
@torch.inference_mode()
def test_spans_equal_explicit_masks_over_all_tokens(reasoner, image, config):
    features = reasoner.encode_image(image)
    total = features.tokens.shape[1]
    plan = spans(config, 8, total)
    output = reasoner.reason(features, [TASKS], csp=config).seg
    representatives = uniform(total, plan.clustered)
    for row, task in zip(output, TASKS, strict=True):
        expected, _ = reference(reasoner, features.tokens[0], task, plan, representatives)
        assert torch.allclose(row, expected, atol=1e-5)
        plain = reasoner.reason(features, [[task]]).seg[0]
        assert not torch.allclose(row, plain, atol=1e-4)


@torch.inference_mode()
def test_all_tokens_in_every_span_equal_the_plain_forward(reasoner, image):
    features = reasoner.encode_image(image)
    everything = CspConfig(clustered=1.0, kept=1.0)
    plain = reasoner.reason(features, [TASKS], output_attentions=True)
    output = reasoner.reason(features, [TASKS], csp=everything, output_attentions=True)
    assert torch.allclose(output.seg, plain.seg, atol=1e-5)
    assert output.attention.shape == plain.attention.shape == (3, 8, 8)


@torch.inference_mode()
def test_tasks_and_images_together_equal_one_at_a_time(reasoner):
    images = torch.randint(0, 255, (2, 3, 48, 64), dtype=torch.uint8)
    features = reasoner.encode_image(images)
    together = reasoner.reason(
        features, [TASKS, TASKS[::-1]], csp=CSP_PRESETS["65"], output_attentions=True
    )
    for number, row in enumerate([*TASKS, *TASKS[::-1]]):
        alone = reasoner.encode_image(images[number // 3 : number // 3 + 1])
        alone = reasoner.reason(alone, [[row]], csp=CSP_PRESETS["65"], output_attentions=True)
        assert torch.allclose(together.seg[number], alone.seg[0], atol=1e-5)
        assert torch.allclose(together.attention[number], alone.attention[0], atol=1e-5)


def test_the_prompt_is_cached_until_weights_change(image):
    reasoner = tiny_model().reasoner
    with torch.no_grad():
        features = reasoner.encode_image(image)
        cached = reasoner.reason(features, [TASKS]).seg
        assert torch.allclose(cached, reasoner.reason(features, [TASKS]).seg)
    with torch.enable_grad():  # as in training: everything is run
        assert torch.allclose(reasoner.reason(features, [TASKS]).seg, cached, atol=1e-5)
    other = copy.deepcopy(reasoner)
    for parameter in other.llava.model.language_model.parameters():
        parameter.data *= 1.1
    reasoner.load_state_dict(other.state_dict())
    with torch.no_grad():
        fresh = other.train().eval().reason(features, [TASKS]).seg
        assert not torch.allclose(fresh, cached, atol=1e-3)
        assert torch.allclose(reasoner.reason(features, [TASKS]).seg, fresh, atol=1e-6)


def test_gradients_reach_every_layer_and_checkpointing_changes_none(image):
    reasoner = tiny_model().reasoner.train()
    reasoner.llava.requires_grad_(True)
    gradients = []
    for checkpointing in (False, True):
        for layer in reasoner.llava.model.language_model.layers:
            layer.gradient_checkpointing = checkpointing
        reasoner.zero_grad()
        reasoner(image, [TASKS]).square().sum().backward()
        layers = reasoner.llava.model.language_model.layers
        gradients.append([layer.self_attn.k_proj.weight.grad.clone() for layer in layers])
        assert all(gradient.abs().sum() > 0 for gradient in gradients[-1])
        assert reasoner.llava.get_input_embeddings().weight.grad.abs().sum() > 0
    for plain, again in zip(*gradients, strict=True):
        assert torch.allclose(plain, again, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("csp", [None, CSP_PRESETS["65"]])
def test_training_and_inference_attend_alike(reasoner, csp):
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 255, (2, 3, 48, 64), dtype=torch.uint8, generator=generator)
    features = reasoner.encode_image(images, cls=True)

    def reason():
        return reasoner.reason(features, [TASKS, TASKS[::-1]], csp=csp, output_attentions=True)

    trained = reason()
    with torch.no_grad():
        used = reason()
    torch.testing.assert_close(trained.seg, used.seg, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(trained.attention, used.attention, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("selector", ["uniform", "random", "cls", "instances"])
@torch.inference_mode()
def test_every_selector_gives_an_answer_of_its_own(reasoner, image, selector):
    features = reasoner.encode_image(image, cls=True)
    instances = torch.zeros(1, 64, dtype=torch.int64)
    instances[0, 10:30] = 3
    config = CspConfig(selector=selector, kept=1.0)
    torch.manual_seed(0)
    output = reasoner.reason(features, [TASKS], csp=config, instances=instances).seg
    assert output.shape == (3, 1, 256) and output.isfinite().all()
    if selector != "uniform":
        plain = reasoner.reason(features, [TASKS], csp=CspConfig(kept=1.0)).seg
        assert not torch.allclose(output, plain, atol=1e-4)


@torch.inference_mode()
def test_cls_attention_is_that_of_the_tower(reasoner, image):
    model = reasoner.llava.model
    with_cls = reasoner.encode_image(image, cls=True)
    reasoner.llava.set_attn_implementation("eager")
    output = {}
    encoder = next(m for m in model.vision_tower.modules() if isinstance(m, CLIPEncoder))
    last = encoder.layers[-1].self_attn  # the feature layer is -1
    hook = last.register_forward_hook(lambda m, args, out: output.update(weights=out[1]))
    features = reasoner.encode_image(image)
    hook.remove()
    reasoner.llava.set_attn_implementation("sdpa")
    assert features.cls is None and torch.allclose(features.tokens, with_cls.tokens, atol=1e-5)
    assert torch.allclose(with_cls.cls, output["weights"][:, :, 0, 1:].mean(1), atol=1e-6)


def test_selectors_that_lack_what_they_need_say_so(reasoner, image):
    features = reasoner.encode_image(image)
    with pytest.raises(ValueError, match="'cls' needs"):
        reasoner.reason(features, [TASKS], csp=CspConfig(selector="cls"))
    with pytest.raises(ValueError, match=r"instances is None; .* int64 \(1, 64\)"):
        reasoner.reason(features, [TASKS], csp=CspConfig(selector="instances"))


@pytest.mark.parametrize(
    ("preset", "layers", "tokens", "average", "per_layer"),
    [
        ("65", 32, 256, 88, [64] * 8 + [256] * 8 + [16] * 16),
        ("70", 32, 256, 76, [64] * 10 + [256] * 6 + [16] * 16),
        ("65", 8, 64, 22, [16] * 2 + [64] * 2 + [4] * 4),
        ("70", 8, 64, 16, [16] * 3 + [64] + [4] * 4),
        ("65", 32, 576, 198, [144] * 8 + [576] * 8 + [36] * 16),
        ("65", 2, 1, 1, [1, 1]),
    ],
)
def test_presets_fit_any_depth_and_number_of_tokens(preset, layers, tokens, average, per_layer):
    per_span = spans(CSP_PRESETS[preset], layers, tokens).tokens_per_layer(layers, tokens)
    assert per_span == per_layer and sum(per_span) / layers == average


def test_clustering_alone_never_scatters(reasoner, image):
    alone = CspConfig(scatter_from=1.0, prune_from=1.0, clustered=0.25)
    assert spans(alone, 8, 64).tokens_per_layer(8, 64) == [16] * 8
    whole = CspConfig(scatter_from=1.0, prune_from=1.0, clustered=1.0)
    with torch.inference_mode():
        features = reasoner.encode_image(image)
        assert torch.isfinite(reasoner.reason(features, [TASKS], csp=alone).seg).all()
        seg = reasoner.reason(features, [TASKS]).seg
        torch.testing.assert_close(reasoner.reason(features, [TASKS], csp=whole).seg, seg)


def test_settings_out_of_range_are_refused():
    with pytest.raises(
        ValueError, match=r"scatter_from is 0\.8; it must be at most prune_from 0\.5"
    ):
        CspConfig(scatter_from=0.8)
    with pytest.raises(ValueError, match=r"CspConfig\.kept is 1\.5"):
        CspConfig(kept=1.5)
    with pytest.raises(ValueError, match="1 layers"):
        spans(CspConfig(), 1, 64)


def test_uniform_and_random_choose_distinct_tokens():
    assert uniform(256, 64).tolist() == list(range(0, 256, 4))
    assert uniform(10, 4).tolist() == [0, 2, 4, 6]  # S[i] = i * floor(N / N_c)
    drawn = random(256, 64, torch.Generator().manual_seed(0))
    assert len(drawn.unique()) == 64 and drawn.tolist() == sorted(drawn.tolist())


def test_instances_get_tokens_by_area():
    instances = torch.zeros(64, dtype=torch.int64)
    instances[:30], instances[40:50], instances[60] = 1, 2, 7
    chosen = seg_first(instances, 8)
    counts = [int((instances[chosen] == name).sum()) for name in (1, 2, 7)]
    # floor(8 * 30 / 41) = 5 and 1 and at least 1; one more from anywhere.
    assert counts[0] >= 5 and min(counts[1:]) >= 1 and len(chosen.unique()) == 8
    assert len(seg_first(torch.zeros(64, dtype=torch.int64), 8).unique()) == 8  # all background
    assert len(seg_first(torch.arange(64), 8).unique()) == 8  # more instances than tokens


def test_gmacs_of_the_image_tokens():
    assert image_token_gmacs([10, 3], 8, 20) == pytest.approx(
        sum(4 * n * 64 + 2 * n * n * 8 + 3 * n * 8 * 20 for n in (10, 3)) / 1e9
    )

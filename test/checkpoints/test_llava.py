"""LLaVA-1.5 with SAM: a start for training that keeps what both know, everything else refused."""

from __future__ import annotations

import pytest
import torch
from builders import tiny_model
from checkpoints import (
    HEADS,
    INNER,
    SAM,
    TASK,
    VISION,
    WIDTH,
    change_json,
    contents,
    cut,
    names,
    new_tokenizer,
    sam_tensors,
    whole,
)
from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from vltp_ros.checkpoints.llava import convert_llava
from vltp_ros.checkpoints.model_directory import (
    ModelError,
    save_model,
    write_description,
    write_tensors,
)
from vltp_ros.cli.main import main


def save_llava(directory, spare):
    """LLaVA-1.5 in small, with ``spare`` rows that no token uses; its tensors."""
    torch.manual_seed(0)
    tokenizer = new_tokenizer()
    tokenizer.save_pretrained(directory)
    text = LlamaConfig(
        vocab_size=len(tokenizer) + spare,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
    )
    image = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(vision_config=VISION, text_config=text, image_token_index=image)
    config.image_seq_length = 16
    llava = LlavaForConditionalGeneration(config).half()
    llava.save_pretrained(directory)
    return llava.state_dict()


@pytest.fixture(scope="module")
def sam(tmp_path_factory):
    """What ``vltp convert sam`` writes, of a tiny SAM."""
    directory = tmp_path_factory.mktemp("sam")
    write_tensors(sam_tensors(), directory / "sam.safetensors")
    write_description(directory, SAM, {"licence": "Apache-2.0", "sources": []})
    return directory


@pytest.mark.parametrize("spare", [0, 5])
def test_llava_gets_a_seg_and_keeps_the_rest(sam, tmp_path, spare):
    source = save_llava(tmp_path / "llava", spare)
    config = convert_llava(tmp_path / "llava", sam, tmp_path / "out")
    assert config.name == "llava with sam_tiny" and config.framing == "pad"
    model = whole(tmp_path / "out")
    reasoner, grown = model.reasoner, ("lm_head.weight", "model.language_model.embed_tokens.weight")
    seg, llava = len(reasoner.tokenizer) - 1, reasoner.llava.state_dict()
    assert reasoner.tokenizer.convert_tokens_to_ids("[SEG]") == seg
    for name, value in source.items():
        same = llava[name][:seg] if name in grown else llava[name]
        assert torch.equal(same, (value[:seg] if name in grown else value).float()), name
    for name in grown:
        assert len(llava[name]) == seg + max(1, spare)
        mean = source[name][:seg].float().mean(0)
        assert torch.allclose(llava[name][seg], mean, rtol=1e-3, atol=1e-5)
    for name, value in sam_tensors().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert model.prune_decoder is None
    image = torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8)
    assert reasoner(image, [[TASK]]).shape == (1, 1, 256)


def test_llavas_projection_is_random_and_the_same_each_time(sam, tmp_path):
    save_llava(tmp_path / "llava", 0)
    for out in ("one", "two"):
        convert_llava(tmp_path / "llava", sam, tmp_path / out)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert whole(tmp_path / "one").reasoner.projection[2].weight.std() > 0.01


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            lambda llava: change_json(llava / "config.json", image_token_index=9999),
            r"config\.json has image token 9999; its tokenizer has \d+ tokens",
        ),
        (
            lambda llava: new_tokenizer("<more>").save_pretrained(llava),
            r"tokenizer has \d+ tokens, more than the vocab_size \d+ of its config\.json",
        ),
        (
            lambda llava: change_json(llava / "config.json", vision_feature_layer=[1.5, "two"]),
            r"llava: the configuration is not valid: .*vision_feature_layer",
        ),
        (
            lambda llava: cut(llava / "model.safetensors"),
            r"llava/model\.safetensors is truncated or not a safetensors file: ",
        ),
    ],
)
def test_a_llava_that_does_not_fit_is_refused(sam, tmp_path, damage, reason):
    save_llava(tmp_path / "llava", 0)
    damage(tmp_path / "llava")
    with pytest.raises(ModelError, match=reason):
        convert_llava(tmp_path / "llava", sam, tmp_path / "out")
    assert names(tmp_path) == ["llava"]


def test_a_whole_model_is_no_sam_for_llava(tmp_path):
    save_llava(tmp_path / "llava", 0)
    save_model(tiny_model(), tmp_path / "whole", {"licence": "Apache-2.0", "sources": []})
    with pytest.raises(
        ModelError, match=r"model\.yaml lists no sam\.safetensors; vltp convert sam"
    ):
        convert_llava(tmp_path / "llava", tmp_path / "whole", tmp_path / "out")


def test_the_command_converts_llava(sam, tmp_path, capsys):
    save_llava(tmp_path / "llava", 0)
    arguments = ["convert", "llava", str(tmp_path / "llava"), "--sam", str(sam)]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"llava with sam_tiny in {tmp_path / 'out'}\n"

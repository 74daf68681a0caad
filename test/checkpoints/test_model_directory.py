"""Model directories: a round trip, and every way in which one can be broken."""

from __future__ import annotations

import json
import math
import shutil
import socket

import numpy as np
import pytest
import torch
import yaml
from builders import tiny_model
from safetensors.torch import load_file, save_file

from vltp_ros.checkpoints.model_directory import (
    ModelError,
    load_model,
    save_model,
    sha256,
    weight_files,
)
from vltp_ros.network.token_selection import fixed_budget
from vltp_ros.runtime.session import Session


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model") / "tiny"
    save_model(tiny_model(), directory, {"licence": "Apache-2.0", "sources": ["random"]})
    return directory


@pytest.fixture
def broken(saved, tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(saved, tmp_path / "broken")


def test_round_trip_keeps_every_parameter_to_half_precision(saved):
    before, after = tiny_model().state_dict(), load_model(saved).state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.allclose(value, after[name], rtol=1e-3, atol=1e-4), name


def test_saving_again_keeps_other_files_and_replaces_the_model(saved, tmp_path):
    directory = shutil.copytree(saved, tmp_path / "model")
    (directory / "README.md").write_text("a card")
    (directory / "notes.txt").write_text("mine")
    save_model(tiny_model(seed=1), directory, {"licence": "Apache-2.0", "sources": []})
    assert not (directory / "README.md").exists()  # it described the other model
    assert (directory / "README.old.md").read_text() == "a card"
    assert (directory / "notes.txt").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    fresh = load_model(directory).image_encoder.patch_embed.proj.weight
    assert not torch.allclose(fresh, load_model(saved).image_encoder.patch_embed.proj.weight)


@pytest.mark.parametrize(
    "name",
    [
        "model.yaml",
        "dense.safetensors",
        "pruned.safetensors",
        "llava/model.safetensors",
        "llava/tokenizer.json",
        "llava/config.json",
    ],
)
def test_a_missing_file_is_named(broken, name):
    (broken / name).unlink()
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load_model(broken)


@pytest.mark.parametrize("name", ["dense.safetensors", "llava/model.safetensors"])
def test_a_truncated_file_is_named(broken, name):
    path = broken / name
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=f"{name}.*truncated or altered"):
        load_model(broken)


def test_sizes_that_do_not_fit_the_weights_are_refused(broken):
    path = broken / "model.yaml"
    description = yaml.safe_load(path.read_text())
    description["config"]["encoder"]["embed_dim"] = 64
    path.write_text(yaml.safe_dump(description))
    with pytest.raises(ModelError, match=r"dense\.safetensors does not fit model\.yaml"):
        load_model(broken)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("][", "not a valid model description"),
        ("just words", "not a valid model description"),
        ("config: {colour: red}\nsha256: {}", "unknown keys .*colour"),
        ("config: {encoder: {depth: -3}}\nsha256: {}", "EncoderConfig.depth is -3"),
        ("config: {pruning: {prune_after: [2], rates: [1.5]}}\nsha256: {}", "rate is 1.5"),
        ("config: {name: [1, 2]}\nsha256: {}", r"ModelConfig.name is \[1, 2\]; it must be str"),
        ("config: {encoder: {depth: many}}\nsha256: {}", "EncoderConfig.depth is 'many'"),
        ("config: {quantization: int3}\nsha256: {}", "ModelConfig.quantization is 'int3'"),
        ("config: {pixel_std: [.nan, 1, 1]}\nsha256: {}", "pixel_std is nan; it must be finite"),
        ("config: {pixel_std: [0, 1, 1]}\nsha256: {}", "pixel_std is 0; it must be at least"),
        ("config: {threshold: .inf}\nsha256: {}", "threshold is inf; it must be finite"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", r"alias \*a is not allowed"),
        ("config: {}\nsha256: {}\ntrained_on: 3", "trained_on is 3; it must be text"),
        ("[" * 5000, "not a valid model description"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(broken, text, reason):
    (broken / "model.yaml").write_text(text)
    with pytest.raises(ModelError, match=f"(?s)model.yaml.*{reason}"):
        load_model(broken)


@pytest.mark.parametrize(
    "name", ["model.yaml", "llava/config.json", "llava/tokenizer.json", "llava/README.txt"]
)
def test_a_configuration_of_a_gigabyte_is_refused_before_it_is_read(broken, name):
    with (broken / name).open("a") as file:
        file.truncate(2**30)  # takes no space on the disk
    if name != "model.yaml":
        sign(broken)
    with pytest.raises(ModelError, match=f"{name} has 1024 MiB; .* at most 64"):
        load_model(broken)


def test_weights_whose_header_claims_a_gigabyte_are_refused(broken):
    path = broken / "dense.safetensors"
    path.write_bytes((2**30).to_bytes(8, "little") + b"{}")
    with path.open("a") as file:
        file.truncate(2**30)
    sign(broken)
    with pytest.raises(ModelError, match=r"dense\.safetensors"):
        load_model(broken)


def sign(directory):
    """Make the checksums anew, as whoever alters a model would."""
    path = directory / "model.yaml"
    description = yaml.safe_load(path.read_text())
    description["sha256"] = {
        str(file.relative_to(directory)): sha256(file) for file in weight_files(directory)
    }
    path.write_text(yaml.safe_dump(description))


def rewrite(path, change):
    """Replace the tensors of a file by what ``change`` makes of them."""
    save_file(change(load_file(path)), path, {"format": "pt"})


def without(part):
    return lambda tensors: {k: v for k, v in tensors.items() if part not in k}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("."), "missing"),
        (without("q_proj"), r"missing: .*q_proj"),
        (without("layers.1."), r"missing: .*layers\.1\."),
        (lambda tensors: tensors | {"model.extra": torch.zeros(3)}, "unknown: extra"),
    ],
)
def test_llava_without_its_weights_is_refused(broken, change, reason):
    rewrite(broken / "llava" / "model.safetensors", change)
    sign(broken)
    with pytest.raises(ModelError, match=f"(?s)llava is not a LLaVA of its config.*{reason}"):
        load_model(broken)


@pytest.mark.parametrize("layers", [1, 7])
def test_llava_of_another_depth_is_refused(broken, layers):
    path = broken / "llava" / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["num_hidden_layers"] = layers
    path.write_text(json.dumps(config))
    sign(broken)
    with pytest.raises(ModelError, match="is not a LLaVA of its config"):
        load_model(broken)


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("dense.safetensors", "image_encoder.blocks.1"),
        ("pruned.safetensors", "prune_decoder"),
        ("llava/model.safetensors", "layers.0.self_attn.v_proj"),
    ],
)
@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_weights_that_are_not_finite_are_refused(broken, file, part, value):
    def spoil(tensors):
        name = next(name for name in tensors if part in name)
        tensors[name].flatten()[0] = value
        return tensors

    rewrite(broken / file, spoil)
    sign(broken)
    with pytest.raises(ModelError, match=f"{part}.* holds values that are not finite"):
        load_model(broken)


@pytest.mark.parametrize("name", ["extra.safetensors", "llava/modeling.py", "adapter/a.json"])
def test_a_file_that_is_not_listed_is_refused(broken, name):
    path = broken / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    with pytest.raises(ModelError, match=rf"{name}.* is not in model\.yaml's list"):
        load_model(broken)


def test_nothing_of_a_directory_is_run_and_no_network_is_asked(broken, monkeypatch):
    def no_socket(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", no_socket)
    monkeypatch.setattr("builtins.input", no_socket)
    load_model(broken)
    path = broken / "llava" / "config.json"
    config = json.loads(path.read_text())
    for owner in ("", "somebody/elsewhere--"):
        code = {"auto_map": {"AutoConfig": f"{owner}configuration.Config"}}
        path.write_text(json.dumps(config | code))
        sign(broken)
        with pytest.raises(ModelError, match="llava has auto_map; nothing from elsewhere"):
            load_model(broken)
    path.write_text(json.dumps(config))
    tokenizer = broken / "llava" / "tokenizer_config.json"
    code = {"auto_map": {"AutoTokenizer": ["somebody/elsewhere--tokenization.Tokenizer", None]}}
    tokenizer.write_text(json.dumps(json.loads(tokenizer.read_text()) | code))
    (broken / "llava" / "adapter_config.json").write_text('{"base_model_name_or_path": "a/b"}')
    sign(broken)
    with pytest.raises(ModelError, match=r"llava has adapter_config\.json; nothing"):
        load_model(broken)
    (broken / "llava" / "adapter_config.json").unlink()
    sign(broken)
    load_model(broken)  # the tokenizer's code is not asked for


def test_a_directory_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere/model\.yaml does not exist"):
        Session.load(tmp_path / "nowhere")


def test_saved_and_live_model_segment_alike(saved):
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    live = Session(tiny_model(), torch.device("cpu")).segment(image, ["drive a nail"])[0]
    loaded = Session.load(saved).segment(image, ["drive a nail"])[0]
    assert np.abs(live.probability - loaded.probability).max() < 0.02


# --- without a pruned half -------------------------------------------------------------------


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """A model that nobody trained a prune decoder for, where there was one with it before."""
    directory = tmp_path_factory.mktemp("model") / "dense"
    provenance = {"licence": "Apache-2.0", "sources": []}
    save_model(tiny_model(), directory, provenance)
    save_model(tiny_model(pruned_half=False), directory, provenance)
    return directory


def test_a_model_without_a_pruned_half_has_no_file_for_it(dense):
    assert not (dense / "pruned.safetensors").exists()
    assert "pruned" not in (dense / "model.yaml").read_text().partition("sha256:")[2]
    model = load_model(dense)
    assert model.prune_decoder is None and model.pruned_mask_decoder is None
    assert not any(name.startswith("prune") for name in model.state_dict())


def test_it_prunes_by_another_ranking_and_draws_with_the_one_decoder(dense):
    model = load_model(dense)
    square, seg = torch.rand(1, 3, 160, 160), torch.rand(1, 1, 256)
    ranking = torch.rand(1, 100)
    with torch.inference_mode():
        tokens = model.stem(square, (2, 3))
        budget = fixed_budget((0.5, 0.5))
        encoded = model.encode(tokens, (2, 3), budget, lambda stage, tokens: ranking)
        features = model.encoder(()).merge(encoded.tokens)
        drawn = model.decode(model.mask_decoder, features, seg)
        torch.testing.assert_close(model.draw(encoded, seg), drawn, rtol=1e-4, atol=1e-5)
    assert [kept.shape for kept in encoded.kept] == [(1, 50), (1, 50)]


def test_it_cannot_rank_and_says_what_can(dense):
    image = np.zeros((48, 64, 3), np.uint8)
    reason = r"tiny has no trained prune decoder; .*selector attention.*vltp train --stage prune"
    with pytest.raises(ValueError, match=reason):
        Session.load(dense).segment(image, ["cut"])
    Session.load(dense, rates=(0.0,)).segment(image, ["cut"])  # ranks nothing


def test_a_listed_pruned_half_must_be_there(broken):
    (broken / "pruned.safetensors").unlink()
    with pytest.raises(
        ModelError, match=r"pruned\.safetensors is missing; model\.yaml .* lists it"
    ):
        load_model(broken)


def test_inherit_makes_the_pruned_half(dense):
    model = load_model(dense)
    model.inherit()
    pruned = model.pruned_mask_decoder.state_dict()
    for name, value in model.mask_decoder.state_dict().items():
        assert torch.equal(pruned[name], value), name
    assert model.prune_decoder(torch.rand(1, 100, 32), torch.rand(1, 1, 256), (10, 10)).shape
    assert model.state_dict().keys() == tiny_model().state_dict().keys()

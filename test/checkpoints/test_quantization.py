"""LLaVA in fewer bits: close to full precision, and refused where it cannot be had."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from builders import tiny_model

from vltp_ros.checkpoints import quantization
from vltp_ros.checkpoints.model_directory import ModelError, load_model, save_model
from vltp_ros.checkpoints.quantization import check_memory, choose_quantization, needed_bytes
from vltp_ros.evaluation.check_context import exact_float32
from vltp_ros.network.config import QUANTIZATIONS, SAM_ENCODERS

TASKS = [["something to drive a nail", "what could I drink from?"]]

TOLERANCE = {"bfloat16": 0.02, "int8": 0.05, "nf4": 0.35}
"""Relative error of <SEG>: random weights of 128 columns are the hardest case for few bits."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model") / "tiny"
    save_model(tiny_model(), directory, {"licence": "Apache-2.0", "sources": []})
    return directory


@torch.inference_mode()
def seg(model):
    generator = torch.Generator().manual_seed(0)
    side = model.reasoner.llava.config.vision_config.image_size  # scaled, bytes may differ by one
    image = torch.randint(0, 255, (1, 3, side, side), dtype=torch.uint8, generator=generator)
    return model.reasoner(image.to(model.pixel_mean.device), TASKS).float().cpu()


@pytest.mark.parametrize("name", TOLERANCE)
def test_fewer_bits_stay_close_to_float32(saved, name):
    exact, rough = seg(load_model(saved)), load_model(saved, quantization=name)
    error = ((seg(rough) - exact).norm() / exact.norm()).item()
    assert 0 < error < TOLERANCE[name]
    layers = rough.reasoner.llava.model.language_model.layers
    kind = {"bfloat16": "Linear", "int8": "Linear8bitLt", "nf4": "Linear4bit"}[name]
    assert type(layers[0].mlp.up_proj).__name__ == kind
    tower = rough.reasoner.llava.model.vision_tower
    linears = {type(m).__name__ for m in tower.modules() if "Linear" in type(m).__name__}
    assert linears == {"Linear"}
    assert next(tower.parameters()).dtype is rough.reasoner.llava.dtype is not torch.float32


def test_nf4_computes_in_bfloat16_with_double_quantisation(saved):
    layer = load_model(saved, quantization="nf4").reasoner.llava.model.language_model.layers[0]
    weight = layer.self_attn.q_proj.weight
    assert layer.self_attn.q_proj.compute_dtype is torch.bfloat16
    assert weight.quant_state.quant_type == "nf4" and weight.quant_state.nested


def test_a_quantised_model_is_not_saved(saved, tmp_path):
    with pytest.raises(ModelError, match="quantization nf4; only whole weights"):
        save_model(load_model(saved, quantization="nf4"), tmp_path / "model", {})
    assert not (tmp_path / "model").exists()


def test_unknown_and_missing_quantisations_are_refused(saved, monkeypatch):
    with pytest.raises(ValueError, match=r"quantization is 'int3'; allowed: float32, .*nf4"):
        load_model(saved, quantization="int3")
    monkeypatch.setattr(quantization.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"needs bitsandbytes: pip install"):
        load_model(saved, quantization="nf4")


def test_too_little_memory_is_said_before_loading(saved, monkeypatch):
    monkeypatch.setattr(quantization, "free_bytes", lambda device: 2**20)
    with pytest.raises(
        ModelError,
        match=r"needs 0\.\d GiB on cpu with quantization float32.*for SAM.*nf4 0",
    ):
        load_model(saved)


def test_the_memory_that_7b_needs():
    """Against the published sizes: 13.5 GB in 16 bits, 3.9 GB of 4-bit layers and the rest."""
    layer = [(f"model.layers.{i}.{name}.weight", shape) for i in range(32) for name, shape in (
        ("q_proj", (4096, 4096)), ("k_proj", (4096, 4096)), ("v_proj", (4096, 4096)),
        ("o_proj", (4096, 4096)), ("gate_proj", (11008, 4096)), ("up_proj", (11008, 4096)),
        ("down_proj", (4096, 11008)))]  # fmt: skip
    shapes = [*layer, ("embed_tokens.weight", (32004, 4096)), ("lm_head.weight", (32004, 4096))]
    gigabytes = {n: needed_bytes(shapes, n) / quantization.HEADROOM / 1e9 for n in QUANTIZATIONS}
    assert gigabytes["float32"] == pytest.approx(27.0, abs=0.1)
    assert gigabytes["bfloat16"] == pytest.approx(13.5, abs=0.1)
    assert gigabytes["nf4"] == pytest.approx(3.9, abs=0.1)


def test_memory_is_counted_from_the_files(saved):
    shapes = list(quantization.stored_shapes(saved / "llava"))
    parameters = sum(p.numel() for p in tiny_model().reasoner.llava.parameters())
    counted = needed_bytes(shapes, "float32") / quantization.HEADROOM
    assert counted == pytest.approx(4 * parameters, rel=0.1)  # the files name tied weights twice
    check_memory(saved / "llava", "float32", torch.device("cpu"))


@pytest.mark.parametrize(("gib", "expected"), [(24, "bfloat16"), (0.0001, "nf4")])
def test_auto_takes_16_bits_on_a_gpu_where_they_fit(saved, monkeypatch, caplog, gib, expected):
    monkeypatch.setattr(quantization, "free_bytes", lambda device: gib * 2**30)
    gpu = torch.device("cuda", 0)
    with caplog.at_level("INFO"):
        assert choose_quantization(saved / "llava", "float32", gpu, 0.0) == expected
    assert f"loaded as {expected}" in caplog.text and "are free" in caplog.text


def test_auto_leaves_it_to_the_model_on_a_cpu(saved):
    assert load_model(saved, quantization="auto").config.quantization == "float32"


def test_sam_and_what_it_computes_are_counted(saved):
    files = [saved / "dense.safetensors", saved / "pruned.safetensors"]
    small, large = (
        quantization.sam_bytes(files, SAM_ENCODERS[name], torch.float32, torch.device("cpu"))
        for name in ("tabletop", "vit_h")
    )
    sam = [p for n, p in tiny_model().named_parameters() if not n.startswith("reasoner.llava")]
    assert 4 * sum(p.numel() for p in sam) < small < large


@pytest.mark.requires_cuda
@pytest.mark.parametrize("name", QUANTIZATIONS)
def test_gpu_stays_close_to_the_cpu(saved, name):
    with exact_float32():
        exact, rough = seg(load_model(saved)), seg(load_model(saved, "cuda", name))
    assert ((rough - exact).norm() / exact.norm()).item() < TOLERANCE.get(name, 1e-3)


def test_model_yaml_decides_unless_told_otherwise(saved, tmp_path):
    model = tiny_model()
    model.config = dataclasses.replace(model.config, quantization="bfloat16")
    save_model(model, tmp_path / "model", {"licence": "Apache-2.0", "sources": []})
    assert load_model(tmp_path / "model").reasoner.llava.dtype is torch.bfloat16
    loaded = load_model(tmp_path / "model", quantization="float32")
    assert loaded.reasoner.llava.dtype is torch.float32

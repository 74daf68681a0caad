"""What the benchmark reports; how fast anything is, it alone says."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from builders import SMALL, random_encoder
from transformers import LlavaForConditionalGeneration

from vltp_ros.checkpoints.llava import PROMPT
from vltp_ros.checkpoints.llava_files import load_reasoner
from vltp_ros.cli.main import main
from vltp_ros.evaluation.encoder_benchmark import benchmark_encoder
from vltp_ros.evaluation.flops import count_gmacs, model_gmacs
from vltp_ros.evaluation.reasoner_benchmark import (
    TASKS,
    benchmark_reasoner,
    transformers_forward,
    write_random_llava,
)
from vltp_ros.evaluation.rivals import rival_encoders
from vltp_ros.network.config import (
    DEFAULT_PRUNE_AFTER,
    LLAVA_SIZES,
    SAM_ENCODERS,
    LlavaSizes,
    model_config,
)
from vltp_ros.network.csp import image_token_gmacs
from vltp_ros.runtime import openvino
from vltp_ros.training.new_model import llava_config, train_tokenizer


@pytest.mark.slow
def test_rows_compare_with_the_official_encoder_of_the_same_run(capsys):
    command = "benchmark encoder --sam tabletop --device cpu --rates 0 0.8 --repeats 3 --baseline"
    assert main([*command.split(), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["hardware"] and answer["versions"]["torch"] == torch.__version__
    ours = [row for row in answer["rows"] if "official" not in row["name"]]
    ways = ["eager", "compiled"] if openvino.is_installed() else ["eager"]
    assert [(row["name"], row["rate"]) for row in ours] == [
        (f"tabletop encoder, {way}", rate) for way in ways for rate in (0.0, 0.8)
    ]
    for row in answer["rows"]:
        low, high = row["quartiles_ms"]
        assert 0 < low <= row["median_ms"] <= high
        assert row["ratio"] == pytest.approx(row["baseline_ms"] / row["median_ms"], rel=0.01)
        assert row["device"] == "cpu" and row["dtype"] == "float32"
    dense, pruned = (row["gmacs"] for row in ours[:2])
    counted = model_gmacs(model_config("tabletop"), (4, 6), (0.8, 0.8))
    assert dense == pytest.approx(counted["dense_gmacs"], abs=0.1)
    assert pruned == pytest.approx(counted["gmacs"], abs=0.1)


@pytest.mark.parametrize(
    ("name", "package"),
    [("official by OpenVINO", "openvino"), ("official by ONNX Runtime", "onnxruntime")],
)
def test_rivals_compute_what_the_official_encoder_does(name, package):
    pytest.importorskip(package, reason=f"{package} is missing: pip install {package}")
    encoder, images = random_encoder(), torch.randn(1, 3, 160, 160)
    with torch.inference_mode():
        features = rival_encoders(encoder.requires_grad_(False), images)[name]()
        expected = encoder(images)
    features = features[0] if isinstance(features, list) else features
    assert torch.allclose(torch.as_tensor(features), expected, atol=1e-3)


@pytest.mark.parametrize("baseline", [True, False])
def test_a_baseline_of_16_bits_keeps_its_weights_and_without_one_there_is_no_ratio(
    baseline, monkeypatch
):
    monkeypatch.setitem(SAM_ENCODERS, "tabletop", SMALL)  # few CPUs are fast in bfloat16
    monkeypatch.setitem(DEFAULT_PRUNE_AFTER, "tabletop", (2, 3))
    answer = benchmark_encoder(
        "tabletop", torch.device("cpu"), torch.bfloat16, (0.5,), baseline=baseline, repeats=3,
        progress=False,
    )  # fmt: skip
    row = answer["rows"][0]
    assert row["dtype"] == "bfloat16" and ("ratio" in row) == baseline


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sam": "vit_x"}, "sam is 'vit_x'; allowed"),
        ({"repeats": 2}, "repeats is 2"),
        ({"rates": (1.0,)}, "rate is 1.0"),
    ],
)
def test_bad_requests_are_refused(changes, reason):
    request = {"sam": "tabletop", "rates": (0.5,), "repeats": 3, "baseline": False, **changes}
    sam, rates = request.pop("sam"), request.pop("rates")
    with pytest.raises(ValueError, match=reason):
        benchmark_encoder(sam, torch.device("cpu"), torch.float32, rates, **request)


def test_reasoner_rows_compare_with_transformers_forward_of_the_same_run(capsys):
    command = (
        "benchmark reasoner --size tabletop --device cpu --quantization nf4 --csp off 65 "
        "--tasks 1 3 --repeats 3 --baseline"
    )
    assert main([*command.split(), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["load_s"] > 0 and answer["quantization"] == "nf4"
    rows = answer["rows"]
    assert [(row["csp"], row["tasks"]) for row in rows] == [
        ("off", 1), ("65", 1), ("off", 3), ("65", 3)
    ]  # fmt: skip
    assert [row["average_tokens"] for row in rows] == [64, 22, 64, 22]
    for row in rows:
        assert row["ratio"] == pytest.approx(row["baseline_ms"] / row["median_ms"], rel=0.01)
    assert rows[0]["baseline_ms"] == rows[1]["baseline_ms"] != rows[2]["baseline_ms"]


def test_the_baseline_computes_what_ours_does(tmp_path):
    config = dataclasses.replace(model_config("tabletop"), prompt=PROMPT)
    write_random_llava(tmp_path, LLAVA_SIZES["tabletop"], torch.device("cpu"))
    reasoner = load_reasoner(tmp_path, config, torch.device("cpu")).eval()
    image = torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8)
    with torch.inference_mode():
        seg = reasoner(image, [list(TASKS[:1])])
        states = transformers_forward(reasoner, image, list(TASKS[:1]))(output_hidden_states=True)
        expected = reasoner.projection(states.hidden_states[-1][:, -1])
    assert torch.allclose(seg[0], expected, atol=1e-4)


def test_bad_numbers_of_tasks_are_refused():
    with pytest.raises(ValueError, match="tasks is 9; allowed: 1 to 4"):
        benchmark_reasoner("tabletop", torch.device("cpu"), "float32", ("off",), (9,))


@pytest.mark.parametrize(("preset", "reduction"), [("65", 0.65), ("70", 0.70)])
def test_presets_save_what_their_names_say_at_7b(capsys, preset, reduction):
    assert main(["flops", "--llava", "7b", "--csp", preset, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["image_token_reduction"] == pytest.approx(reduction, abs=0.01)
    assert len(answer["tokens_per_layer"]) == 32
    saved = 1 - answer["image_token_gmacs"] / answer["dense_image_token_gmacs"]
    assert saved == pytest.approx(answer["image_token_reduction"])
    assert main(["flops", "--llava", "7b", "--csp", preset]) == 0
    assert f"-{100 * saved:.1f}%" in capsys.readouterr().out


def test_image_token_macs_are_those_of_the_real_layers():
    """Each image token more costs what the formula says, counted on the real modules."""
    sizes = LlavaSizes(64, 96, 3, 4, 1024, 512, 32, 16, 32, 32, 2, 2, -1)
    tokenizer = train_tokenizer([PROMPT])
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(llava_config(sizes, tokenizer)).model.language_model

        def gmacs(count: int) -> float:
            return count_gmacs(lambda: model(inputs_embeds=torch.zeros(1, count, 64)))[1]

        counted = gmacs(40)
    assert counted == pytest.approx(image_token_gmacs([40] * 3, 64, 96), rel=1e-6)

"""How a new model starts, and the vision tower behind convolutions."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from transformers import AutoConfig, AutoModel

from vltp_ros.checkpoints.model_directory import save_model
from vltp_ros.network.vision_tower import ConvStemConfig, ConvStemModel
from vltp_ros.training.new_model import new_model

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 40,
    "patch_size": 10,
    "stem": ((8, 5, 1), (16, 2, 1)),
}


def test_the_crowded_model_has_a_tower_behind_convolutions():
    model = new_model(["find the lamp"], 0, "crowded")
    reasoner = model.reasoner
    assert model.config.name == "crowded"
    assert isinstance(reasoner.llava.model.vision_tower, ConvStemModel)
    features = reasoner.encode_image(torch.zeros(2, 3, 48, 64, dtype=torch.uint8), cls=True)
    assert features.tokens.shape == (2, 256, 192) and features.cls.shape == (2, 256)


def test_tokens_start_with_a_place_of_their_own():
    tower = new_model(["find the lamp"], 0, "crowded").reasoner.llava.model.vision_tower
    codes = tower.get_parameter("embeddings.position_embedding.weight")[1:]
    likeness = torch.nn.functional.cosine_similarity(codes[137], codes, dim=1).view(16, 16)
    assert divmod(likeness.argmax().item(), 16) == divmod(137, 16) == (8, 9)
    assert likeness[8, 9] > likeness[8, 10] > likeness[8, 14] and likeness[9, 9] > likeness[14, 9]


def test_a_process_that_only_loads_knows_the_tower(tmp_path):
    model = new_model(["find the lamp"], 0, "crowded")
    save_model(model, tmp_path / "model", {"licence": "Apache-2.0", "sources": ["a test"]})
    load = "import sys; from vltp_ros.checkpoints.model_directory import load_model as load; "
    load += "print(type(load(sys.argv[1]).reasoner.llava.model.vision_tower).__name__)"
    command = [sys.executable, "-c", load, tmp_path / "model"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "ConvStemModel"


def test_transformers_writes_and_reads_a_conv_stem(tmp_path):
    torch.manual_seed(0)
    tower = ConvStemModel(ConvStemConfig(**SIZES)).eval()
    tower.save_pretrained(tmp_path)
    parts = AutoConfig.from_pretrained(tmp_path).stem
    assert tuple(map(tuple, parts)) == SIZES["stem"]
    again = AutoModel.from_pretrained(tmp_path).eval()
    pixels = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(again(pixels)[0], tower(pixels)[0])


@pytest.mark.parametrize("stem", [((8, 5, 1), (16, 1, 1)), ((8, 5, 1), (12, 2, 1))])
def test_a_stem_that_does_not_fit_is_refused(stem):
    with pytest.raises(ValueError, match="they must be patch_size 10 and hidden_size 16"):
        ConvStemModel(ConvStemConfig(**SIZES | {"stem": stem}))

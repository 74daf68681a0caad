"""What is said of a model that has seen no photograph."""

from __future__ import annotations

import pytest
import yaml

from vltp_ros.paths import default_model, shipped
from vltp_ros.runtime.caveat import caveat_of


@pytest.mark.parametrize("directory", [default_model(), shipped("models/crowded")])
def test_what_ships_was_trained_on_simulated_scenes(directory):
    expected = f"{directory} was trained on simulated tabletop scenes only; answers on photographs"
    assert caveat_of(directory) == f"{expected} mean nothing"


@pytest.mark.parametrize(
    "description", [{}, {"trained_on": "photographs"}, {"trained_on": 3}, "words", None]
)
def test_of_other_models_nothing_is_said(tmp_path, description):
    if description is not None:
        (tmp_path / "model.yaml").write_text(yaml.safe_dump(description))
    assert caveat_of(tmp_path) == ""

"""Scenes to train on."""

from __future__ import annotations

import pytest
from builders import crowded_scenes

from vltp_ros.data.scenes import TabletopDataset
from vltp_ros.simulation import generate_dataset


@pytest.fixture(scope="package")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("scenes")
    generate_dataset(directory, count=3, seed=0, split="train", workers=1, progress=False)
    return TabletopDataset(directory)


@pytest.fixture(scope="package")
def crowded(tmp_path_factory):
    return crowded_scenes(tmp_path_factory.mktemp("crowded"), 4)

"""Marks that need something which a machine may not have; models and data to start from."""

from __future__ import annotations

import os
import sys

import pytest
import torch
from builders import PROVENANCE, random_adapter, tiny_model
from public_data import write_coco_tasks, write_rio

from vltp_ros.checkpoints.model_directory import load_model, save_model
from vltp_ros.runtime import runners

# TensorFloat-32 has 10 bits: too few to compare a GPU with a CPU, or to rank tokens alike.
torch.backends.cudnn.allow_tf32 = False

# Tests that are about compiling say so. In the others a part that ran for the ninth time would be
# compiled for seconds, in whichever test that happened to be.
runners.CPU_PATIENCE = sys.maxsize

if "PYTEST_XDIST_WORKER" in os.environ:  # the processes side by side would wait for each other
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("requires_cuda"):
            item.add_marker(pytest.mark.skip(reason="this machine has no NVIDIA GPU"))


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A model directory without an adapter; not to be changed."""
    directory = tmp_path_factory.mktemp("model") / "base"
    save_model(tiny_model(), directory, PROVENANCE)
    return directory


@pytest.fixture(scope="session")
def model(base):
    """The same as one gives it on the command line."""
    return str(base)


@pytest.fixture(scope="session")
def adapted(base):
    """The same with a random adapter; not to be changed."""
    directory = base.with_name("adapted")
    save_model(random_adapter(load_model(base)), directory, PROVENANCE, base=base)
    return directory


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """RIO and COCO-Tasks in small; not to be changed."""
    directory = tmp_path_factory.mktemp("root")
    write_rio(directory)
    write_coco_tasks(directory)
    return directory

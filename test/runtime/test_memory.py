"""The memory of a model, and that it is freed."""

from __future__ import annotations

import gc

import pytest
import torch
from builders import tiny_model

from vltp_ros.checkpoints.model_directory import save_model
from vltp_ros.runtime.memory import gpu_memory_mib
from vltp_ros.runtime.session import Session


def test_a_cpu_has_no_gpu_memory():
    assert gpu_memory_mib(torch.device("cpu")) is None


@pytest.mark.requires_cuda
@pytest.mark.parametrize("quantization", ["float32", "nf4"])
def test_closing_a_session_frees_the_gpu(tmp_path, quantization):
    save_model(tiny_model(), tmp_path, {"licence": "Apache-2.0", "sources": []})
    device = torch.device("cuda")

    def use() -> float:
        session = Session.load(tmp_path, "cuda", quantization=quantization)
        session.warm_up()
        before = gpu_memory_mib(device)
        gc.disable()  # what lives only until it next runs is to be freed too
        session.close()
        gc.enable()
        assert gpu_memory_mib(device) < before
        return gpu_memory_mib(device)

    use()  # what the libraries keep for themselves
    assert len({use() for _ in range(3)}) == 1

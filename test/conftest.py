"""Marks that need something which a machine may not have."""

from __future__ import annotations

import pytest
import torch


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("requires_cuda"):
            item.add_marker(pytest.mark.skip(reason="this machine has no NVIDIA GPU"))

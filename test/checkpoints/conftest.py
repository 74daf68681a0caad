"""A LISA checkpoint, to be converted or damaged, and the model directory made of it."""

from __future__ import annotations

import shutil

import pytest
from lisa_checkpoint import convert, save_lisa

from vltp_ros.checkpoints import conversion


@pytest.fixture(scope="session")
def lisa(tmp_path_factory):
    """A LISA checkpoint; not to be changed."""
    return save_lisa(tmp_path_factory.mktemp("public"))


@pytest.fixture(scope="session")
def converted_lisa(lisa, tmp_path_factory):
    """A model directory in several shards, with a card that was there before; not to be changed."""
    out = tmp_path_factory.mktemp("models") / "lisa_tiny"
    out.mkdir()
    (out / "README.md").write_text("a card")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "SHARD_BYTES", 60_000)
        convert(lisa.root, out)
    return out


@pytest.fixture
def broken_lisa(lisa, tmp_path):
    """A copy of lisa/ and clip/ that a test may break."""
    return shutil.copytree(lisa.root, tmp_path / "public")

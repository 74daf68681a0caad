"""Conversions of LISA that were interrupted: they go on where they can, or start afresh."""

from __future__ import annotations

import pytest
from checkpoints import contents, names, whole
from lisa_checkpoint import change_tensors, convert

from vltp_ros.checkpoints import conversion
from vltp_ros.checkpoints.model_directory import ModelError


class Writer:
    """Stands in for write_tensors: counts the files, and stops at one of them."""

    def __init__(self, monkeypatch, stop_at=None):
        self.real, self.written, self.stop_at = conversion.write_tensors, [], stop_at
        monkeypatch.setattr(conversion, "write_tensors", self)
        monkeypatch.setattr(conversion, "SHARD_BYTES", 60_000)

    def __call__(self, tensors, path):
        if len(self.written) == self.stop_at:
            path.write_bytes(b"half")
            path.with_name(".tmpXYZ").write_bytes(b"half")  # where the library writes at first
            raise KeyboardInterrupt
        self.written.append(path.name.removesuffix(".part"))
        self.real(tensors, path)


@pytest.fixture
def interrupted(broken_lisa, tmp_path):
    """A conversion of ``broken_lisa`` to models/lisa_tiny that was stopped at its third file."""
    with pytest.MonkeyPatch.context() as patch:
        Writer(patch, stop_at=2)
        with pytest.raises(KeyboardInterrupt):
            convert(broken_lisa, tmp_path / "models" / "lisa_tiny")
    assert names(tmp_path / "models") == ["lisa_tiny.partial"]
    return tmp_path / "models" / "lisa_tiny"


def test_an_interrupted_conversion_goes_on(broken_lisa, interrupted, converted_lisa, monkeypatch):
    before = {
        path: path.stat().st_mtime_ns
        for path in interrupted.with_name("lisa_tiny.partial").glob("llava/*.safetensors")
    }
    writer = Writer(monkeypatch)
    convert(broken_lisa, interrupted)
    expected = contents(converted_lisa)
    weight_files = sum(name.endswith(".safetensors") for name in expected)
    assert len(before) == 2 and len(writer.written) == weight_files - 2
    assert {k: v for k, v in expected.items() if k != "README.md"} == contents(interrupted)
    for path, time in before.items():
        assert (interrupted / "llava" / path.name).stat().st_mtime_ns == time
    assert names(interrupted.parent) == ["lisa_tiny"]


def test_another_source_starts_afresh(broken_lisa, interrupted, monkeypatch):
    change_tensors(broken_lisa / "lisa", lambda t: t["lm_head.weight"].zero_())
    writer = Writer(monkeypatch)
    convert(broken_lisa, interrupted)
    assert sorted(writer.written)[0] == "dense.safetensors" and len(writer.written) > 4
    assert not whole(interrupted).reasoner.llava.lm_head.weight.any()


def test_a_record_that_is_broken_starts_afresh(broken_lisa, interrupted, monkeypatch):
    (interrupted.with_name("lisa_tiny.partial") / "conversion.json").write_text("[")
    writer = Writer(monkeypatch)
    convert(broken_lisa, interrupted)
    assert len(writer.written) > 4 and names(interrupted.parent) == ["lisa_tiny"]


def test_a_directory_in_the_place_of_the_partial_one_is_refused(lisa, tmp_path):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "thesis.txt").write_text("mine")
    with pytest.raises(ModelError, match=r"out\.partial is in the way.*; remove it"):
        convert(lisa.root, tmp_path / "out")
    assert names(tmp_path / "out.partial") == ["thesis.txt"]

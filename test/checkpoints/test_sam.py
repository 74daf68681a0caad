"""Meta's checkpoints: segment_anything's own weights come through, everything else is refused."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import shutil

import pytest
import torch
import yaml
from builders import tiny_model
from safetensors import SafetensorError
from segment_anything import sam_model_registry

from vltp_ros.checkpoints import model_directory
from vltp_ros.checkpoints import sam as sam_checkpoint
from vltp_ros.checkpoints.model_directory import ModelError, load_model, save_model, sha256
from vltp_ros.checkpoints.sam import RELEASES, Release, convert_sam, identify, load_sam
from vltp_ros.cli.main import main
from vltp_ros.network.config import SAM_ENCODERS


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """segment_anything's ViT-B with random weights: (its tensors, the file it was saved to)."""
    torch.manual_seed(0)
    tensors = sam_model_registry["vit_b"]().state_dict()
    for name, value in tensors.items():
        if "rel_pos" in name or name.endswith("pos_embed"):  # zero before training
            value.normal_(std=0.1)
    path = tmp_path_factory.mktemp("sam") / "own.pth"
    torch.save(tensors, path)
    yield tensors, path
    path.unlink()


@pytest.fixture(scope="module")
def converted(official, tmp_path_factory):
    """The directory with a card that the command put it into, and its JSON."""
    path, out = official[1], tmp_path_factory.mktemp("sam")
    (out / "README.md").write_text("a card")
    arguments = ["convert", "sam", str(path), "--out", str(out), "--sam", "vit_b"]
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        assert main([*arguments, "--sha256", sha256(path), "--json"]) == 0
    yield out, json.loads(stdout.getvalue())
    shutil.rmtree(out)


@pytest.fixture
def occupied(tmp_path):
    """A directory with a file in it, which must survive."""
    directory = tmp_path / "models" / "sam"
    directory.mkdir(parents=True)
    (directory / "README.md").write_text("a card")
    return directory


def names(directory):
    return sorted(p.name for p in directory.iterdir())


def convert_own(path, out, sam="vit_b"):
    return convert_sam(path, out, sam, sha256(path))


def test_every_tensor_comes_through_unchanged(official, converted):
    config, *modules = load_sam(converted[0])
    loaded = torch.nn.ModuleDict(dict(zip(sam_checkpoint.MODULES, modules, strict=True)))
    tensors = loaded.state_dict()
    assert tensors.keys() == official[0].keys()
    for name, value in official[0].items():
        assert tensors[name].dtype == torch.float32 and torch.equal(tensors[name], value), name
    assert config.encoder == SAM_ENCODERS["vit_b"] and config.pruning.prune_after == (6, 9)
    assert not any(m.training for module in modules for m in module.modules())
    assert not any(p.requires_grad for p in loaded.parameters())


def test_the_parts_compute_what_the_official_ones_do(official, converted):
    sam = sam_model_registry["vit_b"]()
    sam.load_state_dict(official[0])
    _, _, prompts, decoder = load_sam(converted[0])
    points = (torch.tensor([[[300.0, 200.0]]]), torch.ones(1, 1))
    features = torch.randn(1, 256, 64, 64, generator=torch.Generator().manual_seed(0))

    def masks(prompts, decoder):
        sparse, dense = prompts(points, None, None)
        return decoder(features, prompts.get_dense_pe(), sparse, dense, True)[0]

    with torch.no_grad():
        logits, expected = masks(prompts, decoder), masks(sam.prompt_encoder, sam.mask_decoder)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_the_directory_says_where_it_came_from(official, converted):
    out, answer = converted
    assert answer == {"out": str(out), "name": "sam_vit_b"}
    assert names(out) == ["README.md", "model.yaml", "sam.safetensors"]
    description = yaml.safe_load((out / "model.yaml").read_text())
    source = {"file": "own.pth", "sha256": sha256(official[1])}
    assert description["sources"] == [source] and description["licence"] == "unknown"
    assert description["sha256"].keys() == {"sam.safetensors"}


def test_a_published_file_is_known_by_its_checksum(official, monkeypatch):
    path = official[1]
    release = Release("sam_vit_b.pth", path.stat().st_size, sha256(path))
    monkeypatch.setitem(RELEASES, "vit_b", release)
    name, provenance = identify(path, None, None)
    source = {"file": "sam_vit_b.pth", "url": release.url, "sha256": release.sha256}
    assert name == "vit_b" and provenance == {"licence": "Apache-2.0", "sources": [source]}


def test_an_altered_file_of_the_right_size_is_refused(occupied, tmp_path):
    path = tmp_path / "sam_vit_b_01ec64.pth"
    with path.open("wb") as file:
        file.truncate(RELEASES["vit_b"].bytes)  # sparse, all zeros
    with pytest.raises(ModelError, match=r"sam_vit_b_01ec64\.pth is altered .*ec2df627.*--sha256"):
        convert_sam(path, occupied)
    assert names(occupied) == ["README.md"]


def test_a_truncated_file_is_refused_with_the_sizes_that_are_allowed(tmp_path):
    path = tmp_path / "sam_vit_b_01ec64.pth"
    path.write_bytes(b"PK" * 50)
    reason = r"sam_vit_b_01ec64\.pth has 100 bytes: truncated.*375042383.*1249524607.*2564550879"
    with pytest.raises(ModelError, match=reason):
        convert_sam(path, tmp_path / "out")


def test_a_file_of_ones_own_must_have_the_given_checksum(tmp_path):
    path = tmp_path / "own.pth"
    path.write_bytes(b"words")
    with pytest.raises(ModelError, match=f"{sha256(path)}, --sha256 is {'0' * 64}"):
        convert_sam(path, tmp_path / "out", "vit_b", "0" * 64)


@pytest.mark.parametrize(
    ("sam", "checksum", "reason"),
    [
        ("vit_b", None, "give both"),
        (None, "0" * 64, "give both"),
        ("tabletop", "0" * 64, "'tabletop'; allowed: vit_b, vit_l, vit_h"),
        ("vit_b", "xyz", "'xyz'; it must be 64 hexadecimal digits"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(tmp_path, sam, checksum, reason):
    with pytest.raises(ValueError, match=reason):
        convert_sam(tmp_path / "any.pth", tmp_path / "out", sam, checksum)


@pytest.mark.parametrize(
    "content",
    [b"", b"just words", b"PK\x03\x04 and words", pickle.dumps(print)],
    ids=["empty", "words", "zip", "pickle"],
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "own.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"own\.pth is not a checkpoint that torch\.load reads: ."):
        convert_own(path, tmp_path / "out")


@pytest.mark.parametrize(
    "content",
    [torch.zeros(3), ["a list"], {"model": {"image_encoder.pos_embed": torch.zeros(1)}}],
    ids=["tensor", "list", "nested"],
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "own.pth"
    torch.save(content, path)
    with pytest.raises(ModelError, match=r"own\.pth is not a checkpoint of named tensors"):
        convert_own(path, tmp_path / "out")


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    path = tmp_path / "own.pth"
    torch.save({"image_encoder.pos_embed": Payload()}, path)
    with pytest.raises(ModelError, match=r"is not a checkpoint that torch\.load"):
        convert_own(path, tmp_path / "out")
    assert names(tmp_path) == ["own.pth"]


def test_wrong_names_and_shapes_are_named(tmp_path):
    path = tmp_path / "own.pth"
    tensors = {"image_encoder.pos_embed": torch.zeros(1, 2), "module.iou": torch.zeros(1)}
    torch.save(tensors, path)
    reason = (
        r"own\.pth is not a checkpoint of sam_vit_b; tensors \d+ missing: image_encoder\.\S+, .*; "
        r"1 unknown: module\.iou; 1 of another .*: image_encoder\.pos_embed \[1, 2\] instead of "
        r"\[1, 64, 64, 768\]$"
    )
    with pytest.raises(ModelError, match=reason):
        convert_own(path, tmp_path / "out")


def test_another_size_than_the_files_is_refused(official, occupied):
    with pytest.raises(ModelError, match=r"not a checkpoint of sam_vit_l.*blocks\.12"):
        convert_own(official[1], occupied, "vit_l")
    assert names(occupied) == ["README.md"]


def test_a_disk_that_fills_up_leaves_everything_as_it_was(official, occupied, monkeypatch):
    def fail(tensors, path):
        path.write_bytes(b"half")
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(model_directory, "save_file", fail)
    with pytest.raises(ModelError, match=r"sam\.safetensors cannot be written: No space left"):
        convert_own(official[1], occupied)
    assert names(occupied) == ["README.md"] and names(occupied.parent) == ["sam"]


def test_a_missing_file_is_one_line_with_the_addresses(tmp_path, capsys):
    arguments = ["convert", "sam", str(tmp_path / "gone.pth"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    (line,) = [line for line in captured.err.splitlines() if line.startswith("vltp convert: ")]
    assert "gone.pth does not exist" in line
    assert "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth" in line
    assert names(tmp_path) == []


def test_a_whole_model_is_not_overwritten(occupied, tmp_path):
    (occupied / "dense.safetensors").write_bytes(b"weights")
    with pytest.raises(ModelError, match=r"holds dense\.safetensors already"):
        convert_sam(tmp_path / "any.pth", occupied)
    assert names(occupied) == ["README.md", "dense.safetensors"]


def test_sam_alone_is_no_model(converted):
    with pytest.raises(ModelError, match=r"holds SAM only .* has no LLaVA; vltp segment"):
        load_model(converted[0])


def test_a_whole_model_is_not_sam_alone(tmp_path):
    save_model(tiny_model(), tmp_path / "tiny", {"licence": "Apache-2.0", "sources": []})
    with pytest.raises(ModelError, match=r"tiny/model\.yaml lists no sam\.safetensors"):
        load_sam(tmp_path / "tiny")


@pytest.mark.parametrize("content", [None, b"short"])
def test_a_broken_directory_is_refused(converted, tmp_path, content):
    (tmp_path / "model.yaml").write_bytes((converted[0] / "model.yaml").read_bytes())
    if content is not None:
        (tmp_path / "sam.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"sam\.safetensors is (missing|truncated or altered)"):
        load_sam(tmp_path)

"""LISA's and LLaVA's checkpoints: what they compute comes through, everything else is refused.

The LISA here is a tiny one in the layout of LISA-7B-v1, with values that bfloat16 holds exactly.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import shutil
from collections import namedtuple

import pytest
import torch
import torch.nn.functional as F
import yaml
from checkpoints import (
    HEADS,
    INNER,
    LAYERS,
    SAM,
    SENTENCE,
    TASK,
    VISION,
    WIDTH,
    change_json,
    contents,
    cut,
    exact,
    names,
    new_tokenizer,
    rounded,
    sam_tensors,
    whole,
)
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from vltp_ros.checkpoints import conversion, source_files
from vltp_ros.checkpoints import lisa as lisa_checkpoint
from vltp_ros.checkpoints.lisa import convert_lisa
from vltp_ros.checkpoints.model_directory import ModelError, sha256
from vltp_ros.cli.main import main
from vltp_ros.network.preprocessing import llava_input
from vltp_ros.runtime.session import Session
from vltp_ros.runtime.settings import InferenceSettings


def lisa_tensors(vocabulary):
    """The names of LISA-7B-v1 in few layers; half of them in bfloat16."""
    tensors = {
        "lm_head.weight": exact(vocabulary, WIDTH),
        "model.embed_tokens.weight": exact(vocabulary, WIDTH, scale=1),
        "model.norm.weight": exact(WIDTH, scale=1),
        "model.mm_projector.weight": exact(WIDTH, VISION.hidden_size),
        "model.mm_projector.bias": exact(WIDTH),
        "model.text_hidden_fcs.0.0.weight": exact(WIDTH, WIDTH),
        "model.text_hidden_fcs.0.0.bias": exact(WIDTH),
        "model.text_hidden_fcs.0.2.weight": exact(256, WIDTH),
        "model.text_hidden_fcs.0.2.bias": exact(256),
    }
    for number in range(LAYERS):
        layer = f"model.layers.{number}"
        tensors |= {
            f"{layer}.input_layernorm.weight": exact(WIDTH, scale=1),
            f"{layer}.post_attention_layernorm.weight": exact(WIDTH, scale=1),
            f"{layer}.self_attn.q_proj.weight": exact(WIDTH, WIDTH),
            f"{layer}.self_attn.k_proj.weight": exact(WIDTH, WIDTH),
            f"{layer}.self_attn.v_proj.weight": exact(WIDTH, WIDTH),
            f"{layer}.self_attn.o_proj.weight": exact(WIDTH, WIDTH),
            f"{layer}.self_attn.rotary_emb.inv_freq": torch.rand(WIDTH // HEADS // 2),
            f"{layer}.mlp.gate_proj.weight": exact(INNER, WIDTH),
            f"{layer}.mlp.up_proj.weight": exact(INNER, WIDTH),
            f"{layer}.mlp.down_proj.weight": exact(WIDTH, INNER),
        }
    tensors |= {f"model.visual_model.{key}": value for key, value in sam_tensors().items()}
    half = [key for number, key in enumerate(sorted(tensors)) if number % 2]
    return tensors | {key: tensors[key].bfloat16() for key in half}


def save_shards(tensors, directory):
    """PyTorch files as transformers 4 wrote them: two shards and an index."""
    shards = [dict(list(tensors.items())[start::2]) for start in (0, 1)]
    names = [f"pytorch_model-{number:05}-of-00002.bin" for number in (1, 2)]
    for name, shard in zip(names, shards, strict=True):
        torch.save(shard, directory / name)
    listed = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
    index = {"metadata": {"total_size": 1}, "weight_map": listed}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Directories lisa/ and clip/ in one, and LISA's tensors."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("public")
    lisa = root / "lisa"
    tokenizer = new_tokenizer("<im_patch>", "<im_start>", "<im_end>", "[SEG]")
    tokenizer.save_pretrained(lisa)
    tensors = lisa_tensors(len(tokenizer))
    save_shards(tensors, lisa)
    config = {
        "model_type": "llava",
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "rms_norm_eps": 1e-05,
        "vocab_size": len(tokenizer),
        "mm_vision_select_layer": -2,
        "mm_use_im_start_end": True,
        "out_dim": 256,
    }
    (lisa / "config.json").write_text(json.dumps(config))
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 9}
    text["num_attention_heads"] = 2
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=VISION.to_dict()))
    rounded(clip).save_pretrained(root / "clip")
    return root, tensors


@pytest.fixture(scope="module")
def converted(made, tmp_path_factory):
    """A model directory in several shards, with a card that was there before."""
    out = tmp_path_factory.mktemp("models") / "lisa_tiny"
    out.mkdir()
    (out / "README.md").write_text("a card")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "SHARD_BYTES", 60_000)
        convert_lisa(made[0] / "lisa", made[0] / "clip", out, SAM)
    return out


@pytest.fixture
def broken(made, tmp_path):
    """A copy of lisa/ and clip/ that a test may break."""
    return shutil.copytree(made[0], tmp_path / "public")


def convert(root, out):
    return convert_lisa(root / "lisa", root / "clip", out, SAM)


def rotate(x):
    """Rotary positions of [heads, n, d], halves of d paired, base 10000."""
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[1]).float()[:, None] * 10000.0 ** (-torch.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)


def llama(tensors, x):
    """LLaMA over embeddings [n, WIDTH], written out."""

    def linear(name, x):
        return x @ tensors[f"{name}.weight"].T

    def norm(name, x):
        scale = (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
        return x * scale * tensors[f"{name}.weight"]

    n = len(x)
    for number in range(LAYERS):
        layer = f"model.layers.{number}"
        h = norm(f"{layer}.input_layernorm", x)
        q, k, v = (
            linear(f"{layer}.self_attn.{c}_proj", h).view(n, HEADS, -1).transpose(0, 1)
            for c in "qkv"
        )
        scores = rotate(q) @ rotate(k).transpose(1, 2) / math.sqrt(WIDTH // HEADS)
        seen = (scores + torch.full((n, n), -math.inf).triu(1)).softmax(-1) @ v
        x = x + linear(f"{layer}.self_attn.o_proj", seen.transpose(0, 1).reshape(n, -1))
        h = norm(f"{layer}.post_attention_layernorm", x)
        gate = F.silu(linear(f"{layer}.mlp.gate_proj", h))
        x = x + linear(f"{layer}.mlp.down_proj", gate * linear(f"{layer}.mlp.up_proj", h))
    return norm("model.norm", x)


@torch.inference_mode()
def lisa_seg(made, image):
    """LISA's <SEG> embedding [256] for SENTENCE, straight from its files."""
    root, tensors = made
    tensors = {key: value.float() for key, value in tensors.items()}
    clip = CLIPVisionModel.from_pretrained(root / "clip", local_files_only=True)
    states = clip(llava_input(image, 56, "crop"), output_hidden_states=True).hidden_states
    patches = F.linear(
        states[-2][0, 1:], tensors["model.mm_projector.weight"], tensors["model.mm_projector.bias"]
    )
    tokenizer = PreTrainedTokenizerFast.from_pretrained(root / "lisa")
    ids = tokenizer(SENTENCE).input_ids
    place = ids.index(tokenizer.convert_tokens_to_ids("<im_patch>"))
    words = F.embedding(torch.tensor(ids), tensors["model.embed_tokens.weight"])
    states = llama(tensors, torch.cat([words[:place], patches, words[place + 1 :]]))
    seg = ids.index(tokenizer.convert_tokens_to_ids("[SEG]")) + len(patches) - 1
    first, second = "model.text_hidden_fcs.0.0", "model.text_hidden_fcs.0.2"
    hidden = F.linear(states[seg - 1], tensors[f"{first}.weight"], tensors[f"{first}.bias"])
    return F.linear(hidden.relu(), tensors[f"{second}.weight"], tensors[f"{second}.bias"])


@torch.inference_mode()
def test_seg_is_what_lisa_computes(made, converted):
    image = torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8)
    expected = lisa_seg(made, image)
    found = whole(converted).reasoner(image, [[TASK]])[0, 0]
    assert (found - expected).norm() < 1e-4 * expected.norm()
    other = whole(converted).reasoner(255 - image, [[TASK]])[0, 0]
    assert (other - expected).norm() > 1e-2 * expected.norm()  # it does look at the image


def test_every_tensor_comes_through_unchanged(made, converted):
    model = whole(converted)
    for name, value in sam_tensors().items():
        assert torch.equal(model.state_dict()[name], value), name
    head = model.reasoner.llava.lm_head.weight
    assert torch.equal(head, made[1]["lm_head.weight"].float())


def test_transformers_reads_it_with_no_name_missing_or_left_over(converted):
    llava, found = LlavaForConditionalGeneration.from_pretrained(
        converted / "llava", local_files_only=True, output_loading_info=True
    )
    assert not any(found[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert llava.dtype == torch.bfloat16 and llava.config.image_seq_length == 16
    assert llava.config.vision_feature_layer == -2
    shards = sorted((converted / "llava").glob("*.safetensors"))
    assert len(shards) > 3 and shards[0].name == f"model-00001-of-{len(shards):05}.safetensors"


def test_the_directory_says_what_it_is(made, converted):
    assert names(converted) == ["README.md", "dense.safetensors", "llava", "model.yaml"]
    assert names(converted.parent) == ["lisa_tiny"]
    description = yaml.safe_load((converted / "model.yaml").read_text())
    assert description["config"]["name"] == "lisa" and description["config"]["framing"] == "crop"
    assert description["config"]["pruning"]["selector"] == "attention"
    assert description["config"]["quantization"] == "nf4"
    assert "non-commercial" in description["licence"]
    shard = "pytorch_model-00001-of-00002.bin"
    listed = {source["file"]: source["sha256"] for source in description["sources"]}
    assert listed.keys() == {
        "clip/model.safetensors", f"lisa/{shard}", "lisa/pytorch_model-00002-of-00002.bin"
    }  # fmt: skip
    assert listed[f"lisa/{shard}"] == sha256(made[0] / "lisa" / shard)


def test_it_segments_with_and_without_pruning_by_attention(converted):
    session = Session.load(converted, quantization="bfloat16")
    image = torch.randint(0, 256, (48, 64, 3), dtype=torch.uint8).numpy()
    (pruned,) = session.segment(image, [TASK])
    assert pruned.tokens == (50, 50) and pruned.mask.shape == (48, 64)
    session.configure(InferenceSettings(rates=(0.0,)))
    (dense,) = session.segment(image, [TASK])
    assert dense.tokens == () and dense.mask.shape == (48, 64)
    session.configure(InferenceSettings(rates=(0.5,), selector="prune_decoder"))
    with pytest.raises(ValueError, match=r"lisa has no trained prune decoder; .* --stage prune"):
        session.segment(image, [TASK])


def change_tensors(directory, change):
    """Rewrite both shards and the index after ``change(all tensors)``."""
    files = sorted(directory.glob("*.bin"))
    tensors = {k: v for path in files for k, v in torch.load(path, weights_only=True).items()}
    change(tensors)
    save_shards(tensors, directory)


def longer(name):
    return lambda tensors: tensors.update({name: torch.cat([tensors[name], tensors[name][:1]])})


BREAKS = {
    "missing": (
        lambda root: change_tensors(
            root / "lisa", lambda t: t.pop("model.layers.1.mlp.up_proj.weight")
        ),
        r"lisa is not a LISA .* tensors 1 missing: layers\.1\.mlp\.up_proj\.weight$",
    ),
    "unknown": (
        lambda root: change_tensors(
            root / "lisa", lambda t: t.update({"model.extra.weight": torch.ones(1)})
        ),
        r"lisa is not a LISA .* tensors 1 unknown: extra\.weight$",
    ),
    "twice": (
        lambda root: change_tensors(
            root / "lisa", lambda t: t.update({"model.lm_head.weight": t["lm_head.weight"]})
        ),
        r"lisa has \S*lm_head\.weight twice, also as \S*lm_head\.weight$",
    ),
    "shape": (
        lambda root: change_tensors(root / "lisa", longer("model.text_hidden_fcs.0.2.bias")),
        r"type: text_hidden_fcs\.0\.2\.bias \[257\] instead of \[256\]$",
    ),
    "sam of another size": (
        lambda root: change_tensors(
            root / "lisa", longer("model.visual_model.mask_decoder.iou_token.weight")
        ),
        r"visual_model\.mask_decoder\.iou_token\.weight \[2, 256\] instead of \[1, 256\]$",
    ),
    "embedding rows": (
        lambda root: change_tensors(root / "lisa", longer("model.embed_tokens.weight")),
        r"embed_tokens\.weight \[\d+, 64\] instead of \[\d+, 64\]$",
    ),
    "vocabulary": (
        lambda root: change_json(root / "lisa" / "config.json", vocab_size=7),
        r"lisa/config\.json has vocab_size 7, but the tokenizer beside it has \d+ tokens",
    ),
    "no [SEG]": (
        lambda root: new_tokenizer("<im_patch>", "<im_start>", "<im_end>").save_pretrained(
            root / "lisa"
        ),
        r"lisa's tokenizer has no token \[SEG\]; LISA's has one$",
    ),
    "no <im_end>": (
        lambda root: new_tokenizer("<im_patch>", "<im_start>", "[SEG]").save_pretrained(
            root / "lisa"
        ),
        r"lisa's tokenizer has no token <im_end>",
    ),
    "no tokenizer": (
        lambda root: (root / "lisa" / "tokenizer.json").unlink(),
        r"lisa has no tokenizer; it needs tokenizer\.json or tokenizer\.model$",
    ),
    "broken tokenizer": (
        lambda root: (root / "lisa" / "tokenizer.json").write_text('{"added_tokens": [], "a": 1}'),
        r"lisa's tokenizer cannot be read: ",
    ),
    "shard cut short": (
        lambda root: cut(root / "lisa" / "pytorch_model-00002-of-00002.bin"),
        r"pytorch_model-00002-of-00002\.bin is not a checkpoint that torch\.load reads: ",
    ),
    "shard missing": (
        lambda root: (root / "lisa" / "pytorch_model-00002-of-00002.bin").unlink(),
        r"pytorch_model-00002-of-00002\.bin is missing; pytorch_model\.bin\.index\.json .* lists",
    ),
    "index missing": (
        lambda root: (root / "lisa" / "pytorch_model.bin.index.json").unlink(),
        r"lisa has no weight file and no index of shards; allowed: .*pytorch_model\.bin\.index",
    ),
    "index of something else": (
        lambda root: change_json(
            root / "lisa" / "pytorch_model.bin.index.json",
            weight_map={"lm_head.weight": "pytorch_model-00001-of-00002.bin"},
        ),
        r"index\.json does not fit its shards in \d+ tensors: \S+ in pytorch_model-00001-of-00002",
    ),
    "index that is none": (
        lambda root: (root / "lisa" / "pytorch_model.bin.index.json").write_text('{"a": 1}'),
        r"pytorch_model\.bin\.index\.json is not a valid index of shards: KeyError",
    ),
    "no config": (
        lambda root: (root / "lisa" / "config.json").unlink(),
        r"lisa/config\.json does not exist",
    ),
    "config without JSON": (
        lambda root: (root / "lisa" / "config.json").write_text("words"),
        r"lisa/config\.json is not JSON: ",
    ),
    "config without sizes": (
        lambda root: (root / "lisa" / "config.json").write_text('{"hidden_size": 64}'),
        r"config\.json does not say intermediate_size, num_hidden_layers, .*; LISA's does$",
    ),
    "config with a word for a number": (
        lambda root: change_json(root / "lisa" / "config.json", hidden_size="wide"),
        r"lisa/config\.json: the configuration is not valid: .*hidden_size",
    ),
    "another CLIP": (
        lambda root: CLIPVisionModel(
            CLIPVisionConfig(**VISION.to_diff_dict() | {"hidden_size": 32})
        ).save_pretrained(root / "clip"),
        r"clip gives tokens of width 32, the mm_projector in \S+/lisa takes \[48\]: .* another",
    ),
    "CLIP's config of another": (
        lambda root: change_json(
            root / "clip" / "config.json", vision_config=VISION.to_dict() | {"num_hidden_layers": 4}
        ),
        r"clip does not hold the vision tower in its config\.json; tensors 16 missing: vision_tow",
    ),
    "CLIP cut short": (
        lambda root: cut(root / "clip" / "model.safetensors"),
        r"clip/model\.safetensors is truncated or not a safetensors file: ",
    ),
    "CLIP without weights": (
        lambda root: (root / "clip" / "model.safetensors").unlink(),
        r"clip has no weight file",
    ),
    "CLIP that is not there": (
        lambda root: shutil.rmtree(root / "clip"),
        r"clip/config\.json does not exist",
    ),
}


@pytest.mark.parametrize("case", BREAKS)
def test_what_does_not_fit_is_refused_and_nothing_written(broken, tmp_path, case):
    damage, reason = BREAKS[case]
    damage(broken)
    with pytest.raises(ModelError, match=reason) as caught:
        convert(broken, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["public"]


def test_a_vision_tower_alone_will_do_for_clip(made, converted, tmp_path):
    clip = CLIPVisionModel.from_pretrained(made[0] / "clip", local_files_only=True)
    clip.save_pretrained(tmp_path / "clip")
    convert_lisa(made[0] / "lisa", tmp_path / "clip", tmp_path / "out", SAM)
    found = whole(tmp_path / "out").state_dict()
    for name, value in whole(converted).state_dict().items():
        assert torch.equal(found[name], value), name


def test_a_disk_that_is_too_small_is_refused_with_what_is_needed(made, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(50_000_000))
    with pytest.raises(ModelError, match=r"out needs 0\.1 GB more and its disk has 0\.1 GB left"):
        convert(made[0], tmp_path / "out")
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["model.yaml", "sam.safetensors", "llava"])
def test_a_model_is_not_overwritten(made, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ModelError, match=f"holds {name} already; remove it or give another --out"):
        convert(made[0], tmp_path)
    assert names(tmp_path) == [name]


def test_a_file_in_the_way_is_refused(made, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ModelError, match=r"out is a file; a model needs a directory"):
        convert(made[0], tmp_path / "out")


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
def interrupted(broken, tmp_path):
    """A conversion of ``broken`` to models/lisa that was stopped at its third file."""
    with pytest.MonkeyPatch.context() as patch:
        Writer(patch, stop_at=2)
        with pytest.raises(KeyboardInterrupt):
            convert(broken, tmp_path / "models" / "lisa_tiny")
    assert names(tmp_path / "models") == ["lisa_tiny.partial"]
    return tmp_path / "models" / "lisa_tiny"


def test_an_interrupted_conversion_goes_on(broken, interrupted, converted, monkeypatch):
    before = {
        path: path.stat().st_mtime_ns
        for path in interrupted.with_name("lisa_tiny.partial").glob("llava/*.safetensors")
    }
    writer = Writer(monkeypatch)
    convert(broken, interrupted)
    whole = contents(converted)
    written = sum(name.endswith(".safetensors") for name in whole)
    assert len(before) == 2 and len(writer.written) == written - 2
    found = contents(interrupted)
    assert {k: v for k, v in whole.items() if k != "README.md"} == found
    for path, time in before.items():
        assert (interrupted / "llava" / path.name).stat().st_mtime_ns == time
    assert names(interrupted.parent) == ["lisa_tiny"]


def test_another_source_starts_afresh(broken, interrupted, monkeypatch):
    change_tensors(broken / "lisa", lambda t: t["lm_head.weight"].zero_())
    writer = Writer(monkeypatch)
    convert(broken, interrupted)
    assert sorted(writer.written)[0] == "dense.safetensors" and len(writer.written) > 4
    assert not whole(interrupted).reasoner.llava.lm_head.weight.any()


def test_a_record_that_is_broken_starts_afresh(broken, interrupted, monkeypatch):
    (interrupted.with_name("lisa_tiny.partial") / "conversion.json").write_text("[")
    writer = Writer(monkeypatch)
    convert(broken, interrupted)
    assert len(writer.written) > 4 and names(interrupted.parent) == ["lisa_tiny"]


def test_a_directory_in_the_place_of_the_partial_one_is_refused(made, tmp_path):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "thesis.txt").write_text("mine")
    with pytest.raises(ModelError, match=r"out\.partial is in the way.*; remove it"):
        convert(made[0], tmp_path / "out")
    assert names(tmp_path / "out.partial") == ["thesis.txt"]


def test_the_command_writes_a_directory(made, tmp_path, monkeypatch):
    monkeypatch.setattr(lisa_checkpoint, "model_config", lambda name: {"vit_h": SAM}[name])
    lisa, clip, out = (str(path) for path in (made[0] / "lisa", made[0] / "clip", tmp_path / "out"))
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        assert main(["convert", "lisa", lisa, "--clip", clip, "--out", out, "--json"]) == 0
    assert json.loads(stdout.getvalue()) == {"out": out, "name": "lisa"}
    assert whole(out).prune_decoder is None


def test_another_sam_than_vit_h_is_one_line_of_the_command(made, tmp_path, capsys):
    lisa, clip, out = (str(path) for path in (made[0] / "lisa", made[0] / "clip", tmp_path / "out"))
    assert main(["convert", "lisa", lisa, "--clip", clip, "--out", out, "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err
    (line,) = [line for line in captured.err.splitlines() if line.startswith("vltp convert: ")]
    assert "lisa is not a LISA" in line and "visual_model.image_encoder.pos_embed" in line
    assert names(tmp_path) == []


# --- LLaMA's own tokenizer -------------------------------------------------------------------


@pytest.fixture
def sentencepiece(tmp_path):
    """A directory with tokenizer.model and added_tokens.json as LISA-7B-v1 has them."""
    missing = "{} is missing: pip install 'vltp_ros[lisa]'"
    package = pytest.importorskip("sentencepiece", reason=missing.format("sentencepiece"))
    pytest.importorskip("google.protobuf", reason=missing.format("protobuf"))
    directory = tmp_path / "spm"
    directory.mkdir()
    package.SentencePieceTrainer.train(
        sentence_iterator=iter([SENTENCE] * 10),
        model_prefix=str(directory / "tokenizer"),
        model_type="bpe",
        vocab_size=340,
        hard_vocab_limit=False,
        byte_fallback=True,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    (directory / "tokenizer.vocab").unlink()
    pieces = package.SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))
    added = ("<im_patch>", "<im_start>", "<im_end>", "[SEG]")
    numbers = {token: pieces.get_piece_size() + number for number, token in enumerate(added)}
    (directory / "added_tokens.json").write_text(json.dumps(numbers))
    described = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "legacy": True}
    described |= {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(described))
    return directory, pieces, numbers


def test_llamas_own_tokenizer_gives_the_tokens_that_lisa_was_trained_on(
    made, sentencepiece, tmp_path
):
    directory, pieces, numbers = sentencepiece
    lisa = shutil.copytree(made[0] / "lisa", tmp_path / "lisa")
    for path in lisa.glob("token*"):
        path.unlink()
    shutil.copytree(directory, lisa, dirs_exist_ok=True)
    vocabulary = pieces.get_piece_size() + len(numbers)
    change_json(lisa / "config.json", vocab_size=vocabulary)
    change_tensors(
        lisa,
        lambda t: t.update(
            {k: exact(vocabulary, WIDTH) for k in ("lm_head.weight", "model.embed_tokens.weight")}
        ),
    )
    convert_lisa(lisa, made[0] / "clip", tmp_path / "out", SAM)
    before, after = whole(tmp_path / "out").reasoner._prompt_ids(TASK)
    # LISA split at the added tokens, without the space around them, and encoded each piece alone.
    start, end = SENTENCE.split("<im_start><im_patch><im_end> ")
    assert before == [pieces.bos_id(), *pieces.encode(start), numbers["<im_start>"]]
    assert after == [numbers["<im_end>"], *pieces.encode(end.removesuffix("[SEG]."))]


def test_a_tokenizer_model_that_is_none_is_refused(sentencepiece):
    (sentencepiece[0] / "tokenizer.model").write_bytes(b"words")
    with pytest.raises(ModelError, match=r"spm's tokenizer cannot be read: "):
        source_files.read_tokenizer(sentencepiece[0])


def test_a_missing_package_is_named_with_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(source_files, "is_sentencepiece_available", lambda: False)
    (tmp_path / "tokenizer.model").write_bytes(b"any")
    with pytest.raises(ModelError, match=r"model needs .*; pip install sentencepiece protobuf$"):
        source_files.read_tokenizer(tmp_path)

"""LLaMA's own tokenizer, as LISA-7B-v1 has it."""

from __future__ import annotations

import json
import shutil

import pytest
from checkpoints import SAM, SENTENCE, TASK, WIDTH, change_json, exact, whole
from lisa_checkpoint import change_tensors

from vltp_ros.checkpoints import source_files
from vltp_ros.checkpoints.lisa import convert_lisa
from vltp_ros.checkpoints.model_directory import ModelError


@pytest.fixture
def sentencepiece(tmp_path):
    """A directory with tokenizer.model and added_tokens.json as LISA-7B-v1 has them."""
    missing = "{} is missing: pip install '.[lisa]'"
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
    lisa, sentencepiece, tmp_path
):
    directory, pieces, numbers = sentencepiece
    copy = shutil.copytree(lisa.directory, tmp_path / "lisa")
    for path in copy.glob("token*"):
        path.unlink()
    shutil.copytree(directory, copy, dirs_exist_ok=True)
    vocabulary = pieces.get_piece_size() + len(numbers)
    change_json(copy / "config.json", vocab_size=vocabulary)
    change_tensors(
        copy,
        lambda t: t.update(
            {k: exact(vocabulary, WIDTH) for k in ("lm_head.weight", "model.embed_tokens.weight")}
        ),
    )
    convert_lisa(copy, lisa.clip, tmp_path / "out", SAM)
    before, after = whole(tmp_path / "out").reasoner.prompts.tokenise(TASK)
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
    with pytest.raises(ModelError, match=r"model needs .*: pip install '.*\[lisa\]'$"):
        source_files.read_tokenizer(tmp_path)

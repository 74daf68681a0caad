"""The forms in which LISA's checkpoints were published: files, tokens and how they are asked.

All that is public is LLaMA or LLaMA 2, one linear projector, CLIP ViT-L/14 at 224 pixels and SAM
ViT-H. ``explanatory`` ones were trained on answers with an explanation after ``[SEG]`` too; their
files and what they are asked for a mask are those of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from vltp_ros.checkpoints.errors import ModelError
from vltp_ros.checkpoints.source_files import (
    TensorLocation,
    locate,
    read_tokenizer,
    stored_tensors,
)
from vltp_ros.network.llava import token_id
from vltp_ros.network.prompts import SEG_TOKEN

SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the human's questions."
)
"""How LLaVA's first versions open a conversation."""

VICUNA_SYSTEM = SYSTEM.replace("human", "user")
"""How Vicuna v1.1 does."""

REQUEST = "Please output segmentation mask."

IMAGE_TOKEN, START, END = "<im_patch>", "<im_start>", "<im_end>"

# LISA's tokenizer swallowed the space on both sides of an added token; today's keep it. The one
# after <im_end> is the start of a word, which the old one put there by itself.
TURN = f"USER:{START}{{image}}{END} {{task}} {REQUEST} ASSISTANT:{SEG_TOKEN}."


@dataclass(frozen=True)
class LisaForm:
    """How a release of LISA's code stores a model and asks it."""

    name: str
    prompt: str
    """Template with {image}, {task} and [SEG]."""
    further_files: tuple[str, ...] = ()
    """Files with tensors beside those that the index of shards lists."""
    added_tokens: tuple[str, ...] = (IMAGE_TOKEN,)
    """What is added to a tokenizer that does not have it, in this order."""


# Code of v1 puts an image into the text without a token for it, so LISA-13B-llama2-v1 has none;
# our prompts mark the image's place with one, whose embedding is never looked at.
V1 = LisaForm("v1", f"{SYSTEM} {TURN}")

V0 = LisaForm(
    "v0",
    f"{VICUNA_SYSTEM} {TURN}",
    ("pytorch_model-visual_model.bin", "pytorch_model-text_hidden_fcs.bin"),
    (SEG_TOKEN, IMAGE_TOKEN, START, END),
)
"""What LISA's code before 23 August 2023 wrote: it added the tokens whenever it loaded a model."""

NEEDED = (SEG_TOKEN, START, END)
"""The tokens that every LISA was trained with."""


def recognise(directory: Path, values: dict) -> LisaForm:
    """Return the form of a checkpoint.

    Args:
        directory: of the checkpoint.
        values: of its config.json.

    Raises:
        ModelError: for another kind of model, another projector, or one of the two files that
            belong together.
    """
    for name, allowed in (("model_type", "llava"), ("mm_projector_type", "linear")):
        if values.get(name, allowed) != allowed:
            raise ModelError(
                f"{directory / 'config.json'} has {name} {values[name]!r}; every public LISA has "
                f"{allowed!r}"
            )
    present = [name for name in V0.further_files if (directory / name).is_file()]
    if not present:
        return V1
    for name in V0.further_files:
        if name not in present:
            raise ModelError(f"{directory / name} is missing; a LISA of v0 has it and {present[0]}")
    return V0


def locate_lisa(directory: Path, form: LisaForm) -> dict[str, TensorLocation]:
    """Locate a checkpoint's tensors by their names in its files; ModelError for a bad file."""
    located = locate(directory)
    for name in form.further_files:
        located |= stored_tensors(directory / name)
    return located


def read_lisa_tokenizer(
    directory: Path, form: LisaForm, vocabulary: int
) -> PreTrainedTokenizerFast:
    """Read a checkpoint's tokenizer and add what it lacks.

    Args:
        directory: of the checkpoint.
        form: of the checkpoint.
        vocabulary: number of tokens that the weights have rows for.

    Returns:
        The tokenizer; it has one token more than the vocabulary where the weights have no row for
        the image's, which is then the last.

    Raises:
        ModelError: unless tokenizer and vocabulary agree and all of :data:`NEEDED` are in them.
    """
    tokenizer = read_tokenizer(directory)
    stored = len(tokenizer)
    tokenizer.add_tokens(list(form.added_tokens), special_tokens=True)
    for token in NEEDED:
        try:
            token_id(tokenizer, token)
        except ValueError as error:
            raise ModelError(
                f"{directory}'s tokenizer has no token {token}; LISA's has one"
            ) from error
    tokens = stored if form is V1 else len(tokenizer)
    if vocabulary != tokens:
        raise ModelError(
            f"{directory / 'config.json'} has vocab_size {vocabulary}, but the tokenizer beside it "
            f"has {tokens} tokens; they must be equal"
        )
    return tokenizer

"""The words of a task, and which of them a model has never seen."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case, as small models' tokenizers take them."""
    return WORD.findall(unicodedata.normalize("NFKC", text).lower())


def vocabulary_of(sentences: Iterable[str]) -> str:
    """Return all words of some sentences, each once, in order and with spaces between."""
    return " ".join(sorted({word for sentence in sentences for word in words_of(sentence)}))


def unseen_words(task: str, vocabulary: str) -> tuple[str, ...]:
    """Return what of a task a model has never seen; the whole task where it has no word at all.

    Args:
        task: the sentence.
        vocabulary: all words of the model's training, as :func:`vocabulary_of` gives them; empty
            where they are not known, or too many to list: nothing is unseen then.
    """
    if not vocabulary:
        return ()
    known = set(vocabulary.split(" "))
    words = dict.fromkeys(words_of(task))  # each once
    return tuple(word for word in words if word not in known) if words else (task,)

"""The prompt around image and task, as token ids."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LlavaConfig, PreTrainedTokenizerBase

from vltp_ros.network.llava import text_config, token_id

SEG_TOKEN = "[SEG]"

ANSWER = "ASSISTANT:"
"""What the answer comes after in templates of conversations, LLaVA's and LISA's among them."""

NO_LABEL = -100
"""Where there is nothing to predict: what PyTorch's cross-entropy leaves out."""

TEXT_MULTIPLE = 16
"""The tokens after the image are padded to a multiple of this: few lengths are few graphs."""

REMEMBERED = 64
"""Lists of tasks whose ids are kept on the device; a stream asks for the same ones every time."""


@dataclass(frozen=True)
class PromptIds:
    """Token ids of R rows ``before | image | text``, on the device."""

    before: Tensor  # int64 [p], the same for all rows
    text: Tensor  # int64 [R, m], padded on the right
    last: Tensor  # int64 [R]: which token of the text to read out


@dataclass(frozen=True)
class AnswerIds(PromptIds):
    """Token ids of R rows that go on to the end of the forced answer, [SEG] in it."""

    labels: Tensor  # int64 [R, m]: the token of the answer that is to follow, or NO_LABEL


class Prompts:
    """Turns tasks into token ids by a template, which ends just before ``[SEG]``."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, config: LlavaConfig, template: str
    ) -> None:
        """Check that the parts fit together.

        Args:
            tokenizer: with ``[SEG]`` as one token.
            config: LLaVA's.
            template: with ``{image}``, ``{task}`` and ``[SEG]``, once each.

        Raises:
            ValueError: if the tokenizer has no ``[SEG]`` or no image token, or does not fit the
                model's vocabulary.
        """
        self._seg = token_id(tokenizer, SEG_TOKEN)
        text = text_config(config)
        if len(tokenizer) > text.vocab_size:
            raise ValueError(
                f"the tokenizer has {len(tokenizer)} tokens; the model's vocabulary is "
                f"{text.vocab_size}"
            )
        image_token = tokenizer.convert_ids_to_tokens(config.image_token_id)
        if not isinstance(image_token, str):
            raise ValueError(
                f"the tokenizer has no token {config.image_token_id}, the model's image token"
            )
        self.image_token = image_token
        self._image = config.image_token_id
        self._tokenizer = tokenizer
        self._template = template
        self._context = text.max_position_embeddings
        self._remembered: OrderedDict[tuple, PromptIds] = OrderedDict()
        self._refusals: OrderedDict[tuple[str, int], str] = OrderedDict()

    def ids(
        self, tasks: Sequence[Sequence[str]], image_tokens: int, device: torch.device
    ) -> PromptIds:
        """Return the ids for several tasks on each image, from memory where they were asked before.

        Args:
            tasks: B lists of T sentences; R = B * T.
            image_tokens: of each image.
            device: where the ids are needed.

        Raises:
            ValueError: if a task holds a special token or is too long for the model's context.
        """
        key = (tuple(map(tuple, tasks)), image_tokens, device)
        if key not in self._remembered:
            self._remembered[key] = self._make(*key)
            if len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        self._remembered.move_to_end(key)
        return self._remembered[key]

    def refusal(self, task: str, image_tokens: int) -> str:
        """Return why a task cannot be asked about an image of so many tokens; empty: it can."""
        key = (task, image_tokens)
        if key not in self._refusals:
            try:
                before, after = self.tokenise(task)
                self._check_length([after], [task], len(before) + image_tokens)
                reason = ""
            except ValueError as error:
                reason = str(error)
            self._refusals[key] = reason
            if len(self._refusals) > REMEMBERED:
                self._refusals.popitem(last=False)
        return self._refusals[key]

    def tokenise(self, task: str) -> tuple[list[int], list[int]]:
        """Return the token ids before the image, and those after it to just before ``[SEG]``."""
        ids = self._encode(self._template, task)
        if ids.count(self._image) != 1 or ids.count(self._seg) != 1:
            raise ValueError(
                f"task is {task[:80]!r}; it must not hold {self.image_token} or {SEG_TOKEN}"
            )
        index = ids.index(self._image)
        return ids[:index], ids[index + 1 : ids.index(self._seg)]

    def answers(
        self, tasks: Sequence[Sequence[str]], image_tokens: int, device: torch.device
    ) -> AnswerIds:
        """Return the ids of prompts with their answers, which a language model is to learn.

        The answer is what the template has after ``ASSISTANT:``, or else ``[SEG]`` and what comes
        after it, and then the end of the sequence. Arguments and errors are those of :meth:`ids`.
        """
        flat = [task for row in tasks for task in row]
        ids = self.ids(tasks, image_tokens, device)
        rows, starts = zip(*map(self._answer, flat), strict=True)
        self._check_length(list(rows), flat, len(ids.before) + image_tokens)
        width = max(map(len, rows))
        text = torch.zeros(len(rows), width, dtype=torch.int64)
        labels = torch.full_like(text, NO_LABEL)
        for number, (row, start) in enumerate(zip(rows, starts, strict=True)):
            text[number, : len(row)] = torch.tensor(row)
            labels[number, start - 1 : len(row) - 1] = text[number, start : len(row)]
        return AnswerIds(ids.before, text.to(device), ids.last, labels.to(device))

    def _answer(self, task: str) -> tuple[list[int], int]:
        """Return the ids after the image to the answer's end, and where in them it starts."""
        before, question = self.tokenise(task)
        ids, end = self._encode(self._template, task), self._tokenizer.eos_token_id
        ids += [] if end in (None, ids[-1]) else [end]
        image = len(before)
        start = image + 1 + len(question)
        head, word, tail = self._template.rpartition(ANSWER)
        if word and SEG_TOKEN in tail:
            asked = self._encode(head + word, task)
            same = [one == other for one, other in zip(ids, asked, strict=False)]
            start = same.index(False) if False in same else len(same)
        return ids[image + 1 :], start - image - 1

    def _encode(self, template: str, task: str) -> list[int]:
        """Return the token ids of a template, or a part of one, about a task."""
        prompt = template.replace("{image}", self.image_token).replace("{task}", task)
        return list(self._tokenizer(prompt).input_ids)

    @torch.inference_mode(False)  # training may use them as well
    def _make(
        self, tasks: tuple[tuple[str, ...], ...], image_tokens: int, device: torch.device
    ) -> PromptIds:
        """Tokenise and pad the tasks.

        Padding on the right has no effect: attention is causal, and each row is read at its end.
        """
        flat = [task for row in tasks for task in row]
        prompts = [self.tokenise(task) for task in flat]
        before, rows = prompts[0][0], [after for _, after in prompts]
        self._check_length(rows, flat, len(before) + image_tokens)
        longest = -(-max(map(len, rows)) // TEXT_MULTIPLE) * TEXT_MULTIPLE
        padded = [row + [0] * (longest - len(row)) for row in rows]
        last = [len(row) - 1 for row in rows]
        return PromptIds(*(torch.tensor(ids, device=device) for ids in (before, padded, last)))

    def _check_length(self, rows: list[list[int]], tasks: list[str], taken: int) -> None:
        """Raise ValueError if the longest row and the ``taken`` tokens exceed the context."""
        longest = max(range(len(rows)), key=lambda i: len(rows[i]))
        if taken + len(rows[longest]) > self._context:
            raise ValueError(
                f"task {tasks[longest][:40]!r}… gives {len(rows[longest])} tokens; the language "
                f"model's context of {self._context} leaves {self._context - taken}"
            )

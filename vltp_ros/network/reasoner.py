"""LLaVA as a reasoner: image and task in, one <SEG> embedding out (VLTP, Eq. 2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerBase

from vltp_ros.network.preprocessing import llava_input
from vltp_ros.network.prune_decoder import WIDTH

SEG_TOKEN = "[SEG]"


class Reasoner(nn.Module):
    """One forced-answer prefill; the hidden state that predicts ``[SEG]`` becomes the embedding.

    Nothing is generated: the prompt ends just before ``[SEG]``, so neither the language model's
    head nor a key-value cache is needed.
    """

    def __init__(
        self,
        llava: LlavaForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        prompt: str,
        framing: str,
    ) -> None:
        """
        Args:
            llava: in any size; its parameters are used, not copied.
            tokenizer: with ``[SEG]`` as one token.
            prompt: template with ``{image}``, ``{task}`` and ``[SEG]``, once each.
            framing: "pad" or "crop", see :func:`llava_input`.

        Raises:
            ValueError: if the tokenizer has no ``[SEG]`` or does not fit the model's vocabulary.
        """
        super().__init__()
        if tokenizer.convert_tokens_to_ids(SEG_TOKEN) in (None, tokenizer.unk_token_id):
            raise ValueError(f"the tokenizer has no token {SEG_TOKEN}")
        vocabulary = llava.config.text_config.vocab_size
        if len(tokenizer) > vocabulary:
            raise ValueError(
                f"the tokenizer has {len(tokenizer)} tokens; the model's vocabulary is {vocabulary}"
            )
        self.llava = llava
        self.tokenizer = tokenizer
        self.image_token = tokenizer.convert_ids_to_tokens(llava.config.image_token_id)
        self.framing = framing
        self.prompt = prompt
        hidden = llava.config.text_config.hidden_size
        self.projection = nn.Sequential(
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, WIDTH)
        )

    def forward(self, images: Tensor, tasks: list[list[str]]) -> Tensor:
        """Embeddings for several tasks on each image; the vision tower runs once per image.

        Args:
            images: uint8 [B, 3, H, W] RGB.
            tasks: B lists of T sentences.

        Returns:
            float [B * T, 1, 256], the tasks of one image side by side.

        Raises:
            ValueError: if a task is longer than the language model's context allows, or holds a
                special token.
        """
        return self.embed(self.see(images), tasks)

    def see(self, images: Tensor) -> Tensor:
        """Image tokens [B, n, width] of uint8 [B, 3, H, W] RGB images."""
        side = self.llava.config.vision_config.image_size
        pixels = llava_input(images, side, self.framing).to(self.llava.dtype)
        return torch.stack(list(self.llava.model.get_image_features(pixels).pooler_output))

    def embed(self, image_tokens: Tensor, tasks: list[list[str]]) -> Tensor:
        """<SEG> embeddings [B * T, 1, 256] from image tokens [B, n, width]; see :meth:`forward`."""
        tokens, _, read_out = self._sequence(image_tokens, tasks)
        hidden = self.llava.model.language_model(
            inputs_embeds=tokens, use_cache=False
        ).last_hidden_state
        state = hidden[torch.arange(len(hidden), device=hidden.device), read_out]
        return self.projection(state.to(self.projection[0].weight.dtype)).unsqueeze(1)

    def attention(self, image_tokens: Tensor, tasks: list[list[str]]) -> Tensor:
        """How much the position that predicts ``[SEG]`` attends to each image token.

        Mean over heads and over the second half of the layers.

        Args:
            image_tokens: [B, n, width] from :meth:`see`.
            tasks: as in :meth:`forward`.

        Returns:
            float [B * T, g, g] over LLaVA's square input, n = g * g.
        """
        tokens, first, read_out = self._sequence(image_tokens, tasks)
        language_model = self.llava.model.language_model
        usual = language_model.config._attn_implementation
        language_model.set_attn_implementation("eager")  # the fused ones do not return weights
        try:
            layers = language_model(
                inputs_embeds=tokens, use_cache=False, output_attentions=True
            ).attentions
        finally:
            language_model.set_attn_implementation(usual)
        rows = torch.arange(len(tokens), device=tokens.device)
        seen = slice(first, first + image_tokens.shape[1])
        late = torch.stack([layer[rows, :, read_out, seen] for layer in layers[len(layers) // 2 :]])
        side = math.isqrt(image_tokens.shape[1])
        return late.float().mean((0, 2)).unflatten(1, (side, side))

    def _sequence(self, image_tokens: Tensor, tasks: list[list[str]]) -> tuple[Tensor, int, Tensor]:
        """Input embeddings [B * T, n, width], the first image token's place, [B * T] read-outs."""
        device = image_tokens.device
        prompts = [self._prompt_ids(task) for row in tasks for task in row]
        before, rows = prompts[0][0], [after for _, after in prompts]
        self._check_length(rows, tasks, len(before) + image_tokens.shape[1])
        lengths = torch.tensor([len(row) for row in rows], device=device)
        # Padding on the right is never seen: attention is causal and each row is read at its end.
        padded = [row + [0] * (max(map(len, rows)) - len(row)) for row in rows]
        words = self.llava.get_input_embeddings()
        tokens = torch.cat(
            [
                words(torch.tensor([before] * len(rows), device=device)),
                image_tokens.repeat_interleave(len(tasks[0]), 0),
                words(torch.tensor(padded, device=device)),
            ],
            1,
        )
        return tokens, len(before), len(before) + image_tokens.shape[1] + lengths - 1

    def _prompt_ids(self, task: str) -> tuple[list[int], list[int]]:
        """Token ids before the image, and from it to just before ``[SEG]``."""
        text = self.prompt.replace("{image}", self.image_token).replace("{task}", task)
        ids = self.tokenizer(text).input_ids
        image = self.tokenizer.convert_tokens_to_ids(self.image_token)
        seg = self.tokenizer.convert_tokens_to_ids(SEG_TOKEN)
        if ids.count(image) != 1 or ids.count(seg) != 1:
            raise ValueError(
                f"task is {task[:80]!r}; it must not hold {self.image_token} or {SEG_TOKEN}"
            )
        place = ids.index(image)
        return ids[:place], ids[place + 1 : ids.index(seg)]

    def _check_length(self, rows: list[list[int]], tasks: list[list[str]], taken: int) -> None:
        context = self.llava.config.text_config.max_position_embeddings
        longest = max(range(len(rows)), key=lambda i: len(rows[i]))
        if taken + len(rows[longest]) > context:
            task = [t for row in tasks for t in row][longest]
            raise ValueError(
                f"task {task[:40]!r}… gives {len(rows[longest])} tokens; the language model's "
                f"context of {context} leaves {context - taken}"
            )

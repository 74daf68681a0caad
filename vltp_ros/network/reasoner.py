"""LLaVA as a reasoner: image and task in, one <SEG> embedding out (VLTP, Eq. 2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from transformers import (
    LlamaModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.clip.modeling_clip import CLIPAttention

from vltp_ros.network import representatives, vision_tower
from vltp_ros.network.csp import CspConfig, spans
from vltp_ros.network.llava import text_config, vision_config
from vltp_ros.network.prefill import KeysAndValues, TokenSchedule, cache_prompt, lay_out, prefill
from vltp_ros.network.preprocessing import llava_input
from vltp_ros.network.prompts import NO_LABEL, Prompts
from vltp_ros.network.prune_decoder import WIDTH
from vltp_ros.network.run import Run, eager
from vltp_ros.network.token_selection import top_k

vision_tower.register()  # before any LLaVA is loaded, of whose classes transformers has to know


@dataclass(frozen=True)
class VisionFeatures:
    """Output of the vision tower for B images."""

    tokens: Tensor  # [B, N, D], in the language model's width
    cls: Tensor | None  # [B, N]: what the CLS token attends to, mean over heads


@dataclass(frozen=True)
class ReasonerOutput:
    """Output of the language model for T tasks on each of B images, R = B * T."""

    seg: Tensor  # float [R, 1, 256]
    attention: Tensor | None  # float [R, g, g] over LLaVA's square input, N = g * g; see prefill()


@dataclass(frozen=True)
class Answer:
    """What the language model says after R prompts, and what it should."""

    seg: Tensor  # float [R, 1, 256]
    logits: Tensor  # float [n, words], of the tokens of all answers
    labels: Tensor  # int64 [n], the right ones


class Reasoner(nn.Module):
    """A forced-answer prefill; the hidden state that predicts ``[SEG]`` becomes the embedding.

    Nothing is generated: the prompt ends just before ``[SEG]``, so the language model's head
    is not needed, and no key-value cache but that of the prompt.
    """

    def __init__(
        self,
        llava: LlavaForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        prompt: str,
        framing: str,
    ) -> None:
        """Check that the parts fit together.

        Args:
            llava: in any size; its parameters are used, not copied.
            tokenizer: with ``[SEG]`` as one token.
            prompt: template with ``{image}``, ``{task}`` and ``[SEG]``, once each.
            framing: "pad" or "crop", see :func:`llava_input`.

        Raises:
            ValueError: if the tokenizer has no ``[SEG]`` or no image token, or does not fit the
                model's vocabulary, or the language model is no LLaMA.
        """
        super().__init__()
        if not isinstance(llava.model.language_model, LlamaModel):
            kind = type(llava.model.language_model).__name__
            raise ValueError(f"the language model is a {kind}; allowed: LlamaModel")
        self.prompts = Prompts(tokenizer, llava.config, prompt)
        self.llava = llava
        self.tokenizer = tokenizer
        self.framing = framing
        self.prompt = prompt
        hidden = text_config(llava.config).hidden_size
        self.projection = nn.Sequential(
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, WIDTH)
        )
        self.run: Run = eager
        """How vision tower and language model are run."""
        self._changes = 0
        self.clear_prompt_cache()
        self.register_load_state_dict_post_hook(lambda module, keys: module.clear_prompt_cache())

    @property
    def image_tokens(self) -> int:
        """How many tokens an image is for the language model."""
        vision = vision_config(self.llava.config)
        return (vision.image_size // vision.patch_size) ** 2

    def lay_out(self) -> None:
        """Move weights in a GPU's memory as inference wants them; call it once, before that."""
        lay_out(self.llava.model.language_model)

    def forward(
        self, images: Tensor, tasks: list[list[str]], csp: CspConfig | None = None
    ) -> Tensor:
        """Embed several tasks on each image; the vision tower runs once per image.

        Args:
            images: uint8 [B, 3, H, W] RGB.
            tasks: B lists of T sentences.
            csp: which image tokens each layer processes, from the image alone; None: all.

        Returns:
            float [B * T, 1, 256], the tasks of one image side by side.

        Raises:
            ValueError: if a task is longer than the language model's context allows, or holds a
                special token.
        """
        features = self.encode_image(images, cls=csp is not None and csp.selector == "cls")
        return self.reason(features, tasks, csp=csp).seg

    def encode_image(self, images: Tensor, cls: bool = False) -> VisionFeatures:
        """Run the vision tower over uint8 [B, 3, H, W] RGB images.

        Args:
            images: one for each row.
            cls: also return what the CLS token attends to.
        """
        square = self.run(("llava_input", self.framing), self._square, images)
        tokens, *attention = self.run(
            ("tower", self._changes, cls), partial(self._tower, cls=cls), square
        )
        return VisionFeatures(tokens, attention[0] if attention else None)

    def _square(self, images: Tensor) -> Tensor:
        """Turn uint8 [B, 3, H, W] into the vision tower's input [B, 3, s, s]."""
        side = vision_config(self.llava.config).image_size
        return llava_input(images, side, self.framing).to(self.llava.dtype)

    def _tower(self, square: Tensor, cls: bool) -> tuple[Tensor, ...]:
        """Return image tokens [B, N, D] and, if asked for, the CLS token's attention [B, N]."""
        model = self.llava.model
        with _recording_cls_attention(model.vision_tower, self.llava.config, cls) as attentions:
            features = model.get_image_features(square).pooler_output
        return torch.stack(list(features)), *attentions

    def reason(
        self,
        features: VisionFeatures,
        tasks: list[list[str]],
        *,
        csp: CspConfig | None = None,
        instances: Tensor | None = None,
        output_attentions: bool = False,
    ) -> ReasonerOutput:
        """Run the language model for several tasks on each image.

        Args:
            features: from :meth:`encode_image` for B images, with ``cls`` where ``csp`` selects
                by it.
            tasks: B lists of T sentences.
            csp: which image tokens each layer processes; None: all of them.
            instances: int64 [B, N], the instance at each image token, 0 for none; needed where the
                selector of ``csp`` is "instances".
            output_attentions: return the attention too.

        Raises:
            ValueError: as for :meth:`forward`, or if what the selector needs is missing.
        """
        total = features.tokens.shape[1]
        language_model = self.llava.model.language_model
        embed = self._embed
        ids = self.prompts.ids(tasks, total, features.tokens.device)
        cache = self._prompt_cache(ids.before)
        schedule = None
        if csp:
            schedule = _schedule(csp, len(language_model.layers), features, instances)

        def work(
            image: Tensor, text: Tensor, last: Tensor, *representatives: Tensor
        ) -> tuple[Tensor, ...]:
            output = prefill(
                language_model,
                embed(ids.before),
                image,
                embed(text),
                last,
                cache=cache,
                schedule=TokenSchedule(schedule.spans, *representatives) if schedule else None,
                output_attentions=output_attentions,
            )
            seg = self.projection(output.state.to(next(self.projection.parameters()).dtype))
            return (seg.unsqueeze(1), *(() if output.attention is None else (output.attention,)))

        key = ("reason", self._changes, schedule and schedule.spans, output_attentions)
        chosen = [schedule.representatives] if schedule else []
        seg, *attentions = self.run(key, work, features.tokens, ids.text, ids.last, *chosen)
        side = math.isqrt(total)
        return ReasonerOutput(seg, attentions[0].unflatten(1, (side, side)) if attentions else None)

    def answer(self, features: VisionFeatures, tasks: list[list[str]]) -> Answer:
        """Run the language model to the end of its forced answers, to learn their words.

        Arguments and errors are those of :meth:`reason`.
        """
        language_model = self.llava.model.language_model
        head = cast(nn.Linear, self.llava.get_output_embeddings())
        ids = self.prompts.answers(tasks, features.tokens.shape[1], features.tokens.device)
        before, text = self._embed(ids.before), self._embed(ids.text)
        output = prefill(language_model, before, features.tokens, text, ids.last, output_text=True)
        assert output.text is not None
        seg = self.projection(output.state.to(next(self.projection.parameters()).dtype))
        said = ids.labels != NO_LABEL
        logits = head(output.text[said].to(head.weight.dtype))
        return Answer(seg.unsqueeze(1), logits, ids.labels[said])

    def _embed(self, ids: Tensor) -> Tensor:
        """Look words up, in the type of the layers: those that learn are kept in float32."""
        words: Tensor = self.llava.get_input_embeddings()(ids)
        return words.to(self.llava.dtype)

    def clear_prompt_cache(self) -> None:
        """Drop the prompt's key-value cache; whoever changes weights in place must call this."""
        self._prompt_caches: dict[torch.dtype | None, list[KeysAndValues]] = {}
        self._changes += 1

    def train(self, mode: bool = True) -> Reasoner:
        """Set the mode of all modules, and drop the prompt's cache, as weights may change."""
        self.clear_prompt_cache()
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Reasoner:
        """Apply a function to all tensors, e.g. to move them, and drop the prompt's cache."""
        self.clear_prompt_cache()  # keys and values do not move to another device or type
        return super()._apply(fn, recurse)

    def _prompt_cache(self, before: Tensor) -> list[KeysAndValues]:
        """Return keys and values of the prompt int64 [p]; none where weights may change."""
        if self.training or torch.is_grad_enabled():
            return []
        kind = before.device.type
        autocast = kind != "meta" and torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if autocast else None
        if dtype not in self._prompt_caches:
            prompt = self._embed(before)
            self._prompt_caches[dtype] = cache_prompt(self.llava.model.language_model, prompt)
        return self._prompt_caches[dtype]


def _schedule(
    csp: CspConfig, layers: int, features: VisionFeatures, instances: Tensor | None
) -> TokenSchedule:
    """Choose the image tokens that each of so many layers processes."""
    batch, total, _ = features.tokens.shape
    layer_spans = spans(csp, layers, total)
    if layer_spans.scatter_from:
        chosen = _representatives(csp.selector, layer_spans.clustered, features, instances)
    else:
        chosen = torch.zeros(batch, 0, dtype=torch.int64, device=features.tokens.device)
    return TokenSchedule(layer_spans, chosen)


def _representatives(
    selector: str, count: int, features: VisionFeatures, instances: Tensor | None
) -> Tensor:
    """Choose the image tokens int64 [B, count] of the first layers by one of CSP_SELECTORS."""
    batch, total, _ = features.tokens.shape
    if selector == "cls":
        if features.cls is None:
            raise ValueError("the selector 'cls' needs encode_image(…, cls=True)")
        return top_k(features.cls, count)
    if selector == "instances":
        if instances is None or instances.shape != (batch, total):
            shape = None if instances is None else tuple(instances.shape)
            raise ValueError(
                f"instances is {shape}; the selector 'instances' needs int64 {(batch, total)}"
            )
        rows = [representatives.seg_first(row, count) for row in instances.cpu()]
    elif selector == "random":
        rows = [representatives.random(total, count) for _ in range(batch)]
    else:
        return representatives.uniform(total, count, features.tokens.device).expand(batch, -1)
    return torch.stack(rows).to(features.tokens.device)


@contextmanager
def _recording_cls_attention(
    tower: PreTrainedModel, config: LlavaConfig, wanted: bool
) -> Iterator[list[Tensor]]:
    """Record the CLS token's attention [B, N] in the layer whose output becomes image tokens."""
    attentions: list[Tensor] = []
    if not wanted:
        yield attentions
        return
    layers = [module for module in tower.modules() if isinstance(module, CLIPAttention)]
    feature = config.vision_feature_layer  # of the hidden states, the embeddings being the first
    if not isinstance(feature, int):
        raise ValueError(f"vision_feature_layer is {feature}; CLS attention needs a single layer")
    attn = layers[feature - 1 if feature > 0 else len(layers) + feature]

    def record(module: nn.Module, arguments: tuple, named: dict) -> None:
        states = named["hidden_states"] if "hidden_states" in named else arguments[0]
        query, keys = (
            linear(tokens).unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
            for linear, tokens in ((attn.q_proj, states[:, :1]), (attn.k_proj, states))
        )
        weights = (query @ keys.transpose(-2, -1) * attn.scale).float().softmax(-1)
        attentions.append(weights[:, :, 0, 1:].mean(1))

    hook = attn.register_forward_pre_hook(record, with_kwargs=True)
    try:
        yield attentions
    finally:
        hook.remove()

"""One pass of LLaVA's language model over prompt, image and task; a single state is read out.

A row of the batch is ``prompt | image tokens | text``: the prompt is the same in all rows, the
image tokens are the same for all tasks on one image. Attention is causal, so what comes first does
not depend on what follows. The prompt runs once for all rows, or not at all where its keys and
values are cached; the image tokens run once for each image, the text once for each task. Linear
layers, nearly all of the work, take all of them in one product: 4-bit weights are unpacked once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import LlamaModel
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from vltp_ros.network import fused
from vltp_ros.network.causal_attention import (
    KeysAndValues,
    attend,
    attend_by_products,
    attention_of,
    joined,
    repeated,
    weigh,
)
from vltp_ros.network.csp import Spans
from vltp_ros.network.products import trains_on_cpu
from vltp_ros.network.token_selection import top_k


@dataclass(frozen=True)
class TokenSpan:
    """Part of the sequence; its rows are those of the batch, or fewer where several share one."""

    states: Tensor  # [B, n, D]
    angles: Tensor  # cosines and sines of the rotary positions, [B, n, 2 d]

    def map(self, function: Callable[[Tensor], Tensor]) -> TokenSpan:
        """Apply a function that moves rows or tokens to states and angles alike."""
        return TokenSpan(function(self.states), function(self.angles))


LayerOutput = tuple[list[TokenSpan], Tensor | None, list[KeysAndValues]]
"""The parts after a layer; the attention [R, keys] of the read-out positions, mean over heads, if
asked for; keys and values of each part."""


@dataclass(frozen=True)
class TokenSchedule:
    """Which image tokens each layer processes (LVLM_CSP)."""

    spans: Spans
    representatives: Tensor  # int64 [B, clustered], ascending: the image tokens of the first span


@dataclass(frozen=True)
class PrefillOutput:
    """What prefilling R rows with N image tokens gives at their read-out positions."""

    state: Tensor  # [R, D], after the last layer and its norm
    attention: Tensor | None  # float [R, N], to the image tokens
    text: Tensor | None = None  # [R, m, D], the same at all positions of the text


def prefill(
    model: LlamaModel,
    prompt: Tensor,
    image: Tensor,
    text: Tensor,
    last: Tensor,
    *,
    cache: Sequence[KeysAndValues] = (),
    schedule: TokenSchedule | None = None,
    output_attentions: bool = False,
    output_text: bool = False,
) -> PrefillOutput:
    """Run the decoder over R = B * T rows, the T tasks of one image side by side.

    Args:
        model: in any precision, adapters included.
        prompt: embeddings [p, D] before the image.
        image: embeddings [B, N, D] of the image tokens.
        text: embeddings [R, m, D] after the image, padded on the right.
        last: int64 [R], which token of each row of the text to read out.
        cache: of each layer, from :func:`cache_prompt` for the same prompt, which is not run then.
        schedule: which image tokens each layer processes; None: all of them.
        output_attentions: also return the attention: the mean over heads, and over the layers of
            the second half that process all image tokens (where there are none: over all layers
            that do).
        output_text: also return the states of all of the text, padding included.
    """
    layers = _decoder_layers(model)
    start, stop = len(prompt), len(prompt) + image.shape[1]
    before = [] if cache else [_part(model, prompt.unsqueeze(0), 0)]
    whole, after = _part(model, image, start), _part(model, text, stop)
    visible = _first_tokens(whole, schedule)
    averaged = _attention_layers(len(layers), schedule) if output_attentions else range(0)
    needed = {*averaged, schedule.spans.prune_from - 1} if schedule else {*averaged}
    attentions: list[Tensor] = []
    for number, layer in enumerate(layers[:-1]):
        parts, past = [*before, visible, after], cache[number : number + 1]
        read_out = last if number in needed else None
        (*before, visible, after), attention, _ = _run(layer, parts, past, read_out)
        scores = None if attention is None else attention[:, start:stop]
        if scores is not None and number in averaged:
            attentions.append(scores)
        if schedule:
            visible = _next_tokens(visible, whole, schedule, number + 1, scores)
    parts, past = [*before, visible, after], cache[len(layers) - 1 :]
    states = None
    if output_text:
        (*_, after), attention, _ = _run(layers[-1], parts, past, last)
        states = model.norm(after.states)
        state = states[torch.arange(len(last), device=last.device), last]
    else:
        state, attention = _read_out(layers[-1], parts, past, last)
        state = model.norm(state)
    if len(layers) - 1 in averaged and attention is not None:
        attentions.append(attention[:, start:stop])
    return PrefillOutput(state, torch.stack(attentions).mean(0) if attentions else None, states)


def lay_out(model: LlamaModel) -> None:
    """Move weights in a GPU's memory so that inference needs fewer products; changes no value."""
    for layer in _decoder_layers(model):
        attn = layer.self_attn
        fused.lay_side_by_side([attn.q_proj, attn.k_proj, attn.v_proj])


def cache_prompt(model: LlamaModel, prompt: Tensor) -> list[KeysAndValues]:
    """Compute keys and values of a prompt's embeddings [p, D] in each layer."""
    parts, cache = [_part(model, prompt.unsqueeze(0), 0)], []
    for layer in _decoder_layers(model):
        parts, _, (own,) = _run(layer, parts, (), None)
        cache.append(own)
    return cache


def _decoder_layers(model: LlamaModel) -> list[LlamaDecoderLayer]:
    """Return the decoder layers with their type."""
    # A ModuleList does not say what it holds.
    return list(cast(Iterable[LlamaDecoderLayer], model.layers))


def _first_tokens(whole: TokenSpan, schedule: TokenSchedule | None) -> TokenSpan:
    """Return the image tokens that layer 0 processes, out of all of them."""
    if schedule is None or schedule.spans.scatter_from == 0:
        return whole
    return _take(whole, schedule.representatives)


def _next_tokens(
    visible: TokenSpan,
    whole: TokenSpan,
    schedule: TokenSchedule,
    layer: int,
    scores: Tensor | None,
) -> TokenSpan:
    """Return the image tokens that a layer processes.

    Args:
        visible: those of the layer before, after that layer.
        whole: all of them, before the first layer.
        schedule: says at which layers they change.
        layer: 0-based, at least 1.
        scores: [R, N], the attention to all of them in the layer before, where it is known.
    """
    if layer == schedule.spans.scatter_from:
        return _put_back(whole, schedule.representatives, visible)
    if layer == schedule.spans.prune_from and scores is not None:
        return _take(_for_each(visible, len(scores)), top_k(scores, schedule.spans.kept))
    return visible


def _attention_layers(depth: int, schedule: TokenSchedule | None) -> range:
    """Return the layers over whose attention :func:`prefill` averages."""
    spans = schedule.spans if schedule else None
    complete = range(spans.scatter_from, spans.prune_from) if spans else range(depth)
    late = range(max(complete.start, depth // 2), complete.stop)
    return late or complete


def _run(
    layer: LlamaDecoderLayer,
    parts: Sequence[TokenSpan],
    past: Sequence[KeysAndValues],
    last: Tensor | None,
) -> LayerOutput:
    """Run one layer; each part attends to the past, to the parts before it, and causally to itself.

    With ``last`` also the attention of those positions of the last part.
    """
    if layer.gradient_checkpointing and layer.training:
        return checkpoint(_run_now, layer, parts, past, last, use_reentrant=False)
    return _run_now(layer, parts, past, last)


def _run_now(
    layer: LlamaDecoderLayer,
    parts: Sequence[TokenSpan],
    past: Sequence[KeysAndValues],
    last: Tensor | None,
) -> LayerOutput:
    """Run one layer as :func:`_run` does, without gradient checkpointing."""
    attn, rows = layer.self_attn, len(parts[-1].states)
    states = torch.cat([part.states.flatten(0, 1) for part in parts])
    _, normed = fused.add_and_norm(layer.input_layernorm, states)
    angles = _angles(parts)
    query, key, value = fused.project([attn.q_proj, attn.k_proj, attn.v_proj], normed)
    queries = _heads(fused.rotate(query, angles), parts)
    own = _keys_and_values(key, value, parts, angles)
    if trains_on_cpu(queries[-1]):
        attended, attention = attend_by_products(attn, queries, [*past, *own], last)
        return _split(_finish(layer, states, attended), parts), attention, own
    keys, values = joined([*past, *own], rows)
    out, end = [], sum(pair[0].shape[2] for pair in past)
    for query in queries:
        # Rows that share a part lie side by side: one of them has the keys for all.
        end, shared = end + query.shape[2], rows // len(query)
        out.append(attend(attn, query, keys[::shared, :, :end], values[::shared, :, :end]))
    attention = None
    if last is not None:
        query = queries[-1][torch.arange(rows, device=last.device), :, last]
        attention = attention_of(attn, query, keys, _hidden(parts[-1], last)).mean(1)
    states = _finish(layer, states, torch.cat(out))
    return _split(states, parts), attention, own


def _read_out(
    layer: LlamaDecoderLayer,
    parts: Sequence[TokenSpan],
    past: Sequence[KeysAndValues],
    last: Tensor,
) -> tuple[Tensor, Tensor]:
    """Run the last layer, of which only the read-out positions are needed.

    Returns:
        [R, D] before the final norm, and the attention [R, keys], mean over heads.
    """
    attn, rows = layer.self_attn, torch.arange(len(last), device=last.device)
    states = torch.cat([part.states.flatten(0, 1) for part in parts])
    _, normed = fused.add_and_norm(layer.input_layernorm, states)
    key, value = fused.project([attn.k_proj, attn.v_proj], normed)
    pairs = [*past, *_keys_and_values(key, value, parts, _angles(parts))]
    position = parts[-1].map(lambda t: t[rows, last].unsqueeze(1))
    state = position.states.flatten(0, 1)
    _, normed = fused.add_and_norm(layer.input_layernorm, state)
    (query,) = fused.project([attn.q_proj], normed)
    query = fused.rotate(query, position.angles.flatten(0, 1)).unflatten(1, (-1, attn.head_dim))
    if trains_on_cpu(query):
        hidden = _hidden(parts[-1], last)[:, None, None]
        out, weights = weigh(attn, query.unsqueeze(2), pairs[:-1], pairs[-1], hidden)
        return _finish(layer, state, out.flatten(1)), weights.squeeze(2).mean(1)
    keys, values = joined(pairs, len(last))
    weights = attention_of(attn, query, keys, _hidden(parts[-1], last))
    out = weights.to(values.dtype).unsqueeze(2) @ values
    return _finish(layer, state, out.flatten(1)), weights.mean(1)


def _finish(layer: LlamaDecoderLayer, states: Tensor, attended: Tensor) -> Tensor:
    """Return a layer's output [n, D] from its input and what its attention gave, [n, D] each."""
    (update,) = fused.project([layer.self_attn.o_proj], attended)
    states, normed = fused.add_and_norm(layer.post_attention_layernorm, states, update)
    return states + fused.run_mlp(layer.mlp, normed)


def _hidden(part: TokenSpan, last: Tensor) -> Tensor:
    """Return bool [R, n], True after the read-out position, padding included."""
    return torch.arange(part.states.shape[1], device=last.device) > last.unsqueeze(1)


def _keys_and_values(
    key: Tensor, value: Tensor, parts: Sequence[TokenSpan], angles: Tensor
) -> list[KeysAndValues]:
    """Return the keys and values of each part from those of all tokens, [all tokens, heads * d]."""
    return list(zip(_heads(fused.rotate(key, angles), parts), _heads(value, parts), strict=True))


def _heads(flat: Tensor, parts: Sequence[TokenSpan]) -> list[Tensor]:
    """Split [all tokens, heads * d] into [B, heads, n, d] for each part."""
    width = parts[0].angles.shape[-1] // 2
    return [part.states.unflatten(2, (-1, width)).transpose(1, 2) for part in _split(flat, parts)]


def _angles(parts: Sequence[TokenSpan]) -> Tensor:
    """Return cosines and sines of all tokens, [all tokens, 2 d]."""
    return torch.cat([part.angles.flatten(0, 1) for part in parts])


def _split(flat: Tensor, parts: Sequence[TokenSpan]) -> list[TokenSpan]:
    """Split states [all tokens, width] into parts of the given shapes."""
    sizes = [part.states.shape[0] * part.states.shape[1] for part in parts]
    return [
        replace(part, states=states.unflatten(0, part.states.shape[:2]))
        for part, states in zip(parts, flat.split(sizes), strict=True)
    ]


def _part(model: LlamaModel, states: Tensor, start: int) -> TokenSpan:
    """Return the span of states [B, n, D] at the positions from ``start`` on."""
    positions = torch.arange(start, start + states.shape[1], device=states.device)
    cosine, sine = model.rotary_emb(states, positions.unsqueeze(0))
    return TokenSpan(states, torch.cat([cosine, sine], -1).expand(len(states), -1, -1))


def _for_each(part: TokenSpan, rows: int) -> TokenSpan:
    """Repeat the rows of a part, so that each row of the batch has its own."""
    return part.map(lambda t: repeated(t, rows))


def _take(part: TokenSpan, index: Tensor) -> TokenSpan:
    """Select the tokens at int64 [B, k], which keep their positions."""
    return part.map(lambda t: t.gather(1, index.unsqueeze(-1).expand(-1, -1, t.shape[-1])))


def _put_back(whole: TokenSpan, index: Tensor, part: TokenSpan) -> TokenSpan:
    """Return all tokens, those at int64 [B, k] replaced by those of ``part``."""
    index = index.unsqueeze(-1).expand(-1, -1, whole.states.shape[-1])
    return replace(whole, states=whole.states.scatter(1, index, part.states.to(whole.states.dtype)))

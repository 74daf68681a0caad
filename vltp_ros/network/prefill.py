"""One pass of LLaVA's language model over prompt, image and task; a single state is read out.

A row of the batch is ``prompt | image tokens | words``: the prompt is the same in all rows, the
image tokens are the same for all tasks on one image. Attention is causal, so what comes first does
not depend on what follows. The prompt runs once for all rows, or not at all where its keys and
values are cache; the image tokens run once for each image, the words once for each task. Linear
layers, nearly all of the work, take all of them in one product: 4-bit weights are unpacked once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import LlamaModel
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    rotate_half,
)

from vltp_ros.network.csp import Spans
from vltp_ros.network.token_selection import top_k

KeysAndValues = tuple[Tensor, Tensor]
"""Of one layer: [B, heads, n, d] each, keys rotated to their positions."""


@dataclass(frozen=True)
class TokenSpan:
    """Part of the sequence; its rows are those of the batch, or fewer where several share one."""

    states: Tensor  # [B, n, D]
    angles: tuple[Tensor, Tensor]  # cosine and sine of the rotary positions, [B, n, d] each


@dataclass(frozen=True)
class PrefillOutput:
    """What the language model says at the read-out positions of R rows with N image tokens."""

    state: Tensor  # [R, D], after the last layer and its norm
    attention: Tensor | None  # float [R, N], to the image tokens


def prefill(
    model: LlamaModel,
    prompt: Tensor,
    image: Tensor,
    words: Tensor,
    last: Tensor,
    *,
    cache: Sequence[KeysAndValues] = (),
    spans: Spans | None = None,
    representatives: Tensor | None = None,
    output_attentions: bool = False,
) -> PrefillOutput:
    """Run the decoder over R = B * T rows, the T tasks of one image side by side.

    Args:
        model: in any precision, adapters included.
        prompt: embeddings [p, D] before the image.
        image: embeddings [B, N, D] of the image tokens.
        words: embeddings [R, m, D] after the image, padded on the right.
        last: int64 [R], which word of each row to read out.
        cache: of each layer, from :func:`cache_prompt` for the same prompt, which is not run then.
        spans: which image tokens each layer sees (LVLM_CSP); None: all of them.
        representatives: int64 [B, clustered], ascending: the image tokens of the first span.
        output_attentions: also return the attention: the mean over heads, and over the layers of
            the second half that see all image tokens (over all such layers where there are none).
    """
    start, total, depth = len(prompt), image.shape[1], len(model.layers)
    before = () if cache else (_part(model, prompt.unsqueeze(0), 0),)
    whole = seen = _part(model, image, start)
    asked = _part(model, words, start + total)
    layers_wanted = _attention_layers(depth, spans) if output_attentions else range(0)
    attentions: list[Tensor] = []
    scores = None
    for number, layer in enumerate(model.layers):
        if spans:
            if number == 0 < spans.scatter_from:
                seen = _take(whole, representatives)
            if number == spans.scatter_from > 0:
                seen = _put_back(whole, representatives, seen)
            if number == spans.prune_from:
                seen = _take(_for_each(seen, len(words)), top_k(scores, spans.kept))
        parts, past = (*before, seen, asked), tuple(cache[number : number + 1])
        if number == depth - 1:
            state, attention = _read_out(layer, parts, past, last)
        else:
            ranked = spans is not None and number == spans.prune_from - 1
            wanted = last if ranked or number in layers_wanted else None
            (*before, seen, asked), attention, _ = _run(layer, parts, past, wanted)
            if ranked:
                scores = attention[:, start : start + total]
        if number in layers_wanted:
            attentions.append(attention[:, start : start + total])
    return PrefillOutput(model.norm(state), torch.stack(attentions).mean(0) if attentions else None)


def cache_prompt(model: LlamaModel, prompt: Tensor) -> list[KeysAndValues]:
    """Keys and values of a prompt's embeddings [p, D] in each layer, for :func:`prefill`."""
    parts, kept = (_part(model, prompt.unsqueeze(0), 0),), []
    for layer in model.layers:
        parts, _, (own,) = _run(layer, parts, (), None)
        kept.append(own)
    return kept


def _attention_layers(depth: int, spans: Spans | None) -> range:
    """The layers whose attention tells where the read-out looks."""
    complete = range(spans.scatter_from, spans.prune_from) if spans else range(depth)
    late = range(max(complete.start, depth // 2), complete.stop)
    return late or complete


def _run(
    layer: LlamaDecoderLayer,
    parts: Sequence[TokenSpan],
    past: Sequence[KeysAndValues],
    last: Tensor | None,
) -> tuple[list[TokenSpan], Tensor | None, list[KeysAndValues]]:
    """One layer; each part attends to the past, to the parts before it, and causally to itself.

    Returns:
        The parts after the layer; with ``last`` the attention [R, keys] of those places of the last
        part, mean over heads; keys and values of each part.
    """
    if layer.gradient_checkpointing and layer.training:
        return checkpoint(_run_now, layer, parts, past, last, use_reentrant=False)
    return _run_now(layer, parts, past, last)


def _run_now(
    layer: LlamaDecoderLayer,
    parts: Sequence[TokenSpan],
    past: Sequence[KeysAndValues],
    last: Tensor | None,
) -> tuple[list[TokenSpan], Tensor | None, list[KeysAndValues]]:
    attn = layer.self_attn
    states = torch.cat([part.states.flatten(0, 1) for part in parts])
    normed = layer.input_layernorm(states)
    queries = _heads(attn, attn.q_proj, normed, parts, rotated=True)
    own = _keys_and_values(attn, normed, parts)
    out = [
        _attend(attn, query, _joined([*past, *own[: number + 1]], len(query)))
        for number, query in enumerate(queries)
    ]
    attention = None
    if last is not None:
        query = queries[-1][torch.arange(len(last), device=last.device), :, last]
        keys, _ = _joined([*past, *own], len(query))
        attention = _weights(attn, query, keys, _hidden(parts[-1], last)).mean(1)
    states = states + attn.o_proj(torch.cat(out))
    states = states + layer.mlp(layer.post_attention_layernorm(states))
    return _split(states, parts), attention, own


def _read_out(
    layer: LlamaDecoderLayer,
    parts: Sequence[TokenSpan],
    past: Sequence[KeysAndValues],
    last: Tensor,
) -> tuple[Tensor, Tensor]:
    """The last layer, of which only the read-outs are needed.

    Returns:
        [R, D] before the final norm, and the attention [R, keys], mean over heads.
    """
    attn, rows = layer.self_attn, torch.arange(len(last), device=last.device)
    normed = layer.input_layernorm(torch.cat([part.states.flatten(0, 1) for part in parts]))
    keys, values = _joined([*past, *_keys_and_values(attn, normed, parts)], len(last))
    asked = parts[-1]
    place = TokenSpan(
        asked.states[rows, last].unsqueeze(1),
        tuple(each.expand(len(last), -1, -1)[rows, last].unsqueeze(1) for each in asked.angles),
    )
    state = place.states.flatten(0, 1)
    (query,) = _heads(attn, attn.q_proj, layer.input_layernorm(state), [place], rotated=True)
    weights = _weights(attn, query.squeeze(2), keys, _hidden(asked, last))
    out = weights.to(values.dtype).unsqueeze(2) @ values
    state = state + attn.o_proj(out.flatten(1))
    state = state + layer.mlp(layer.post_attention_layernorm(state))
    return state, weights.mean(1)


def _attend(attn: LlamaAttention, query: Tensor, others: KeysAndValues) -> Tensor:
    """[B * n, D] of queries [B, heads, n, d], the last n keys being their own."""
    count, keys = query.shape[2], others[0].shape[2]
    visible = torch.ones(count, keys, dtype=torch.bool, device=query.device).tril(keys - count)
    out = F.scaled_dot_product_attention(query, *others, visible, scale=attn.scaling)
    return out.transpose(1, 2).flatten(2).flatten(0, 1)


def _weights(attn: LlamaAttention, query: Tensor, keys: Tensor, hidden: Tensor) -> Tensor:
    """float [R, heads, keys]: attention of one query [R, heads, d] for each row."""
    logits = (keys @ query.unsqueeze(-1)).squeeze(-1).float() * attn.scaling
    hidden = F.pad(hidden, (keys.shape[2] - hidden.shape[1], 0))
    return logits.masked_fill(hidden.unsqueeze(1), float("-inf")).softmax(-1)


def _hidden(part: TokenSpan, last: Tensor) -> Tensor:
    """bool [R, n]: what comes after the read-out, padding included."""
    return torch.arange(part.states.shape[1], device=last.device) > last.unsqueeze(1)


def _keys_and_values(
    attn: LlamaAttention, normed: Tensor, parts: Sequence[TokenSpan]
) -> list[KeysAndValues]:
    keys = _heads(attn, attn.k_proj, normed, parts, rotated=True)
    values = _heads(attn, attn.v_proj, normed, parts, rotated=False)
    return list(zip(keys, values, strict=True))


def _heads(
    attn: LlamaAttention,
    linear: nn.Module,
    normed: Tensor,
    parts: Sequence[TokenSpan],
    rotated: bool,
) -> list[Tensor]:
    """A projection of all tokens at once, [B, heads, n, d] for each part."""
    split = _split(linear(normed), parts)
    heads = [part.states.unflatten(2, (-1, attn.head_dim)).transpose(1, 2) for part in split]
    if not rotated:
        return heads
    return [
        each * part.angles[0].unsqueeze(1) + rotate_half(each) * part.angles[1].unsqueeze(1)
        for each, part in zip(heads, parts, strict=True)
    ]


def _split(flat: Tensor, parts: Sequence[TokenSpan]) -> list[TokenSpan]:
    """States [all tokens, width] as parts of those shapes."""
    sizes = [part.states.shape[0] * part.states.shape[1] for part in parts]
    return [
        replace(part, states=some.unflatten(0, part.states.shape[:2]))
        for part, some in zip(parts, flat.split(sizes), strict=True)
    ]


def _joined(pairs: Sequence[KeysAndValues], rows: int) -> KeysAndValues:
    """Keys and values one after the other, the shared ones repeated for each row."""
    keys, values = (
        torch.cat([each.repeat_interleave(rows // len(each), 0) for each in some], 2)
        for some in zip(*pairs, strict=True)
    )
    return keys, values


def _part(model: LlamaModel, states: Tensor, start: int) -> TokenSpan:
    """States [B, n, D] that stand at ``start`` and after."""
    positions = torch.arange(start, start + states.shape[1], device=states.device)
    angles = model.rotary_emb(states, positions.unsqueeze(0))
    return TokenSpan(states, tuple(each.expand(len(states), -1, -1) for each in angles))


def _for_each(part: TokenSpan, rows: int) -> TokenSpan:
    """A part of its own for each row."""
    times = rows // len(part.states)
    states, *angles = (t.repeat_interleave(times, 0) for t in (part.states, *part.angles))
    return TokenSpan(states, tuple(angles))


def _take(part: TokenSpan, index: Tensor) -> TokenSpan:
    """The tokens at int64 [B, k], at their old positions."""
    states, *angles = (
        t.gather(1, index.unsqueeze(-1).expand(-1, -1, t.shape[-1]))
        for t in (part.states, *part.angles)
    )
    return TokenSpan(states, tuple(angles))


def _put_back(whole: TokenSpan, index: Tensor, some: TokenSpan) -> TokenSpan:
    """All tokens, those at int64 [B, k] replaced by ``some``."""
    index = index.unsqueeze(-1).expand(-1, -1, whole.states.shape[-1])
    return replace(whole, states=whole.states.scatter(1, index, some.states.to(whole.states.dtype)))

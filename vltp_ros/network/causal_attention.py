"""Causal attention of rows that share keys: the tasks on an image, the images behind a prompt.

Shapes are those of one layer: queries [R, heads, q, d]; keys and values [B, heads, n, d], where
rows that lie side by side share one of B.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaAttention

from vltp_ros.network.products import softmax

KeysAndValues = tuple[Tensor, Tensor]
"""Of one layer: [B, heads, n, d] each, keys rotated to their positions."""


def attend_by_products(
    attn: LlamaAttention,
    queries: Sequence[Tensor],
    pairs: Sequence[KeysAndValues],
    last: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """Attend from each part of a sequence to the past, the parts before it and causally to itself.

    Keys that are repeated for each task would cost more than what is done with them.

    Args:
        attn: the layer's.
        queries: of each part, [B, heads, n, d].
        pairs: keys and values of the past and of each part.
        last: int64 [R], the read-out position of each row of the last part; None: there is none.

    Returns:
        What the parts' layer gave, [all tokens, D], and the attention [R, keys] of the read-out
        positions, mean over heads.
    """
    out = []
    for number, query in enumerate(queries, len(pairs) - len(queries)):
        count = query.shape[2]
        hidden = ~_causal_mask(count, count, query.device)
        attended, _ = weigh(attn, query, pairs[:number], pairs[number], hidden)
        out.append(attended.transpose(1, 2).flatten(2).flatten(0, 1))
    if last is None:
        return torch.cat(out), None
    # Once more for one position of each row: to pick it out of all costs more going back.
    rows = torch.arange(len(last), device=last.device)
    query = queries[-1][rows, :, last].unsqueeze(2)
    places = torch.arange(queries[-1].shape[2], device=last.device)
    hidden = places > last[:, None, None, None]
    _, weights = weigh(attn, query, pairs[:-1], pairs[-1], hidden)
    return torch.cat(out), weights.squeeze(2).mean(1)


def weigh(
    attn: LlamaAttention,
    query: Tensor,
    before: Sequence[KeysAndValues],
    own: KeysAndValues,
    hidden: Tensor,
) -> tuple[Tensor, Tensor]:
    """Attend to what rows share and to what each row has for itself, without repeating keys.

    Args:
        attn: the layer's.
        query: [R, heads, q, d].
        before: keys and values that rows share, of at most G rows; R / G rows that lie side by side
            share one.
        own: keys and values [R, heads, m, d].
        hidden: bool, broadcast to [R, heads, q, m]: what is not attended to.

    Returns:
        [R, heads, q, d], and the weights [R, heads, q, all keys], both in the type of the query.
    """
    query = query * attn.scaling
    logits = (query @ own[0].mT).masked_fill(hidden, float("-inf"))
    if not before:
        weights = softmax(logits)
        return weights @ own[1], weights
    keys, values = joined(before, len(before[-1][0]))
    groups, total = len(keys), keys.shape[2]
    together = query.unflatten(0, (groups, -1)).transpose(1, 2)  # [G, heads, R / G, q, d]
    early = (together.flatten(2, 3) @ keys.mT).view(*together.shape[:-1], total)
    weights = softmax(torch.cat([early, logits.unflatten(0, (groups, -1)).transpose(1, 2)], -1))
    early, late = weights.split((total, weights.shape[-1] - total), -1)
    out = (early.flatten(2, 3) @ values).view_as(together).transpose(1, 2).flatten(0, 1)
    out = out + late.transpose(1, 2).flatten(0, 1) @ own[1]
    return out, weights.transpose(1, 2).flatten(0, 1)


def attend(attn: LlamaAttention, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return the output [B * n, D] of causal attention for queries [B, heads, n, d].

    The last n keys are the queries' own.
    """
    bias = _causal_bias(query.shape[2], keys.shape[2], query.dtype, query.device)
    out = F.scaled_dot_product_attention(query, keys, values, bias, scale=attn.scaling)
    return out.transpose(1, 2).flatten(2).flatten(0, 1)


# Made once for all layers and never let go, as captured graphs read them.
@cache
@torch.inference_mode(False)
def _causal_mask(count: int, keys: int, device: torch.device) -> Tensor:
    """Return bool [count, keys]: what each of the last ``count`` tokens may attend to."""
    return torch.ones(count, keys, dtype=torch.bool, device=device).tril(keys - count)


@cache
@torch.inference_mode(False)
def _causal_bias(count: int, keys: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return what to add to logits, [count, keys]: 0 where :func:`_causal_mask` holds, else -inf.

    PyTorch would make it of the mask in each layer; its rows lie as kernels want them, 16 bytes.
    """
    whole = torch.zeros(count, -(-keys // 8) * 8, dtype=dtype, device=device)
    return whole[:, :keys].masked_fill_(~_causal_mask(count, keys, device), float("-inf"))


def attention_of(attn: LlamaAttention, query: Tensor, keys: Tensor, hidden: Tensor) -> Tensor:
    """Return the attention, float [R, heads, keys], of one query [R, heads, d] for each row."""
    logits = (keys @ query.unsqueeze(-1)).squeeze(-1).float() * attn.scaling
    hidden = F.pad(hidden, (keys.shape[2] - hidden.shape[1], 0))
    return logits.masked_fill(hidden.unsqueeze(1), float("-inf")).softmax(-1)


def joined(pairs: Sequence[KeysAndValues], rows: int) -> KeysAndValues:
    """Concatenate keys and values, repeating for each row those that rows share.

    In memory a token's heads stay together, as products leave them: to move them apart takes a GPU
    five times as long as to copy them.
    """
    keys, values = (
        torch.cat([repeated(tensor, rows).transpose(1, 2) for tensor in tensors], 1).transpose(1, 2)
        for tensors in zip(*pairs, strict=True)
    )
    return keys, values


def repeated(tensor: Tensor, rows: int) -> Tensor:
    """Repeat each row of [B, ...] for the rows that share it, side by side; if possible a view."""
    shared = rows // len(tensor)
    return tensor.unsqueeze(1).expand(-1, shared, *tensor.shape[1:]).flatten(0, 1)

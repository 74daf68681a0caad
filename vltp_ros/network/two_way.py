"""SAM's two-way transformer, in which an image and a few tokens attend to each other.

Most of its work is to project the image's tokens, for keys, values and queries. Where the others
are few it is cheaper to project these once more instead: (W x) q = x (W^T q). That changes
rounding alone.
"""

from __future__ import annotations

import math

from segment_anything.modeling import TwoWayTransformer
from segment_anything.modeling.transformer import Attention
from torch import Tensor


def run_two_way(
    transformer: TwoWayTransformer, image: Tensor, position: Tensor, points: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what the transformer's own ``forward`` returns: points and image tokens.

    Args:
        transformer: whose parameters are used.
        image: [B, d, rows, columns].
        position: its positional encoding, of the same shape.
        points: [B, T, d], few: the gain ends where T times the heads is d / 2.

    Returns:
        [B, T, d] and [B, rows * columns, d].
    """
    queries, keys = points, image.flatten(2).transpose(1, 2)
    position = position.flatten(2).transpose(1, 2)
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            queries = layer.self_attn(queries, queries, queries)
        else:
            placed = queries + points
            queries = queries + layer.self_attn(placed, placed, queries)
        queries = layer.norm1(queries)
        seen = attend_to_image(
            layer.cross_attn_token_to_image, queries + points, keys + position, keys
        )
        queries = layer.norm2(queries + seen)
        queries = layer.norm3(queries + layer.mlp(queries))
        told = attend_to_few(
            layer.cross_attn_image_to_token, keys + position, queries + points, queries
        )
        keys = layer.norm4(keys + told)
    seen = attend_to_image(
        transformer.final_attn_token_to_image, queries + points, keys + position, keys
    )
    return transformer.norm_final_attn(queries + seen), keys


def attend_to_image(attn: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return ``attn(q, k, v)`` for few queries [B, T, d] and many keys and values [B, N, d].

    The keys' bias adds the same to all logits of a query, which softmax ignores.
    """
    heads = attn.num_heads
    queries = attn.q_proj(q).unflatten(2, (heads, -1))
    queries = (queries / math.sqrt(queries.shape[-1])).transpose(1, 2)  # [B, h, T, c]
    queries = queries @ attn.k_proj.weight.unflatten(0, (heads, -1))  # [B, h, T, d]
    attention = (queries.flatten(1, 2) @ k.transpose(1, 2)).softmax(-1)  # [B, h * T, N]
    mixed = (attention @ v).unflatten(1, (heads, -1))  # [B, h, T, d]
    mixed = mixed @ attn.v_proj.weight.unflatten(0, (heads, -1)).transpose(1, 2)
    return attn.out_proj(mixed.transpose(1, 2).flatten(2) + attn.v_proj.bias)


def attend_to_few(attn: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return ``attn(q, k, v)`` for many queries [B, N, d] and few keys and values [B, T, d]."""
    heads, count = attn.num_heads, k.shape[1]
    keys = attn.k_proj(k).unflatten(2, (heads, -1))
    keys = (keys / math.sqrt(keys.shape[-1])).transpose(1, 2)  # [B, h, T, c]
    bias = keys @ attn.q_proj.bias.unflatten(0, (heads, -1)).unsqueeze(-1)  # [B, h, T, 1]
    keys = keys @ attn.q_proj.weight.unflatten(0, (heads, -1))  # [B, h, T, d]
    logits = q @ keys.flatten(1, 2).transpose(1, 2) + bias.flatten(1).unsqueeze(1)
    attention = logits.unflatten(2, (heads, count)).softmax(-1).flatten(2)  # [B, N, h * T]
    values = attn.v_proj(v).unflatten(2, (heads, -1)).transpose(1, 2)  # [B, h, T, c]
    values = values @ attn.out_proj.weight.T.unflatten(0, (heads, -1))  # [B, h, T, d]
    return attention @ values.flatten(1, 2) + attn.out_proj.bias

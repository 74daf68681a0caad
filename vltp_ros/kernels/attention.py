"""SAM's attention with relative positions inside: no bias exists in memory.

Window and global attention, of all tokens or some, are one kernel: a window lists the tokens that
are present in it, and in global attention the whole grid is a single window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from vltp_ros.kernels.language import jit, power_of_two, product_type, tl

SMALLEST = 16
"""Fewest rows, columns and terms of a product on tensor cores."""

LOG2_E = math.log2(math.e)
"""Factor of all logits: GPUs have powers of two, not of e."""


class Tiling(NamedTuple):
    """How the work is cut up."""

    queries: int  # of one program
    keys: int  # of one step
    warps: int
    stages: int  # steps whose keys are on their way at a time


WINDOW_TILINGS = (Tiling(64, 64, 4, 3), Tiling(64, 32, 4, 3), Tiling(128, 64, 8, 2))
GLOBAL_TILINGS = (Tiling(128, 64, 8, 3), Tiling(64, 64, 4, 3), Tiling(128, 64, 4, 3))
"""What fits into a GPU's registers; which is the fastest, the GPU that is there decides."""


@dataclass(frozen=True)
class WindowTokens:
    """The tokens in each of W windows; a list holds the tokens, then the pads, then nothing."""

    size: tuple[int, int]  # rows and columns of a window
    tokens: Tensor  # int32 [W, n]: which of the B * N tokens; -1 for a pad
    slots: Tensor  # int32 [W, n]: its row * columns + column in the window
    queries: Tensor  # int32 [W]: how many are tokens
    keys: Tensor  # int32 [W]: how many are tokens or pads
    padded: bool  # whether there may be pads
    whole: bool  # whether each list goes through its window from the first slot to the last


def relative_attention(
    qkv: Tensor,
    pad: Tensor,
    tables: tuple[Tensor, Tensor],
    heads: int,
    windows: WindowTokens,
    tiling: Tiling,
) -> Tensor:
    """Return softmax(q k / sqrt(d) + rel_h + rel_w) v of each token in its window.

    Args:
        qkv: [B, N, 3 C], queries, keys and values, C = heads * d.
        pad: [3 C], those of a pad.
        tables: relative positions of rows and columns, [2 size - 1, d] each.
        heads: how many.
        windows: which hold each of the B * N tokens once.
        tiling: how the work is cut up.

    Returns:
        [B, N, C].
    """
    rows, columns = windows.size
    width = qkv.shape[-1] // 3 // heads
    body = max(power_of_two(width + 1) // 2, SMALLEST)
    # Steps, and the queries of a program, are then rows of the grid: biases need no products.
    aligned = windows.whole and columns == power_of_two(max(rows, columns), SMALLEST)
    windows_count, longest = windows.tokens.shape
    out = qkv.new_empty(*qkv.shape[:-1], heads * width)
    query_block, key_block = (columns, columns) if aligned else (tiling.queries, tiling.keys)
    _relative_attention[-(-longest // query_block), heads, windows_count](
        qkv.contiguous(),
        pad.to(qkv.dtype),
        *(table.contiguous() for table in tables),
        windows.tokens,
        windows.slots,
        windows.queries,
        windows.keys,
        out,
        longest,
        LOG2_E * width**-0.5,
        heads=heads,
        width=width,
        body=body,
        rest=power_of_two(width - body, SMALLEST) if width > body else 0,
        rows=rows,
        columns=columns,
        block=power_of_two(max(rows, columns), SMALLEST),
        padded=windows.padded,
        aligned=aligned,
        kind=product_type(qkv.dtype),
        query_block=query_block,
        key_block=key_block,
        num_warps=tiling.warps,
        num_stages=tiling.stages,
    )
    return out


@jit("longest")
def _relative_attention(
    qkv: tl.tensor, pad: tl.tensor, table_h: tl.tensor, table_w: tl.tensor,
    tokens: tl.tensor, slots: tl.tensor, queries: tl.tensor, keys: tl.tensor,
    out: tl.tensor, longest: int, scale: float, heads: tl.constexpr,
    width: tl.constexpr, body: tl.constexpr, rest: tl.constexpr,
    rows: tl.constexpr, columns: tl.constexpr, block: tl.constexpr,
    padded: tl.constexpr, aligned: tl.constexpr, kind: tl.constexpr,
    query_block: tl.constexpr, key_block: tl.constexpr,
) -> None:  # fmt: skip
    """Attend from some queries of a window, in one head, to all keys of the window.

    A width that is no power of two is cut into ``body`` and ``rest``: 80 = 64 + 16.
    """
    first = tl.program_id(0) * query_block
    window = tl.program_id(2)
    count = tl.load(queries + window)
    if first >= count:
        return
    tokens += window * longest
    slots += window * longest
    column = tl.program_id(1) * width
    number = first + tl.arange(0, query_block)
    valid = number < count
    token = tl.load(tokens + number, mask=valid, other=0).to(tl.int64)
    slot = tl.load(slots + number, mask=valid, other=0)
    query = qkv + token * (3 * heads * width) + column
    q = _load(query, valid, 0, body, width, kind)
    q_rest = q
    if rest:
        q_rest = _load(query, valid, body, rest, width, kind)
    rel_w = _relative(q, q_rest, table_w, slot % columns, columns, block, width, body, rest, kind)
    if aligned:
        key_row = tl.arange(0, block)
        rel_h = _against(
            q, q_rest, table_h, first // columns - key_row + rows - 1, key_row < rows,
            width, body, rest, kind,
        )  # fmt: skip
    else:
        rel_h = _relative(q, q_rest, table_h, slot // columns, rows, block, width, body, rest, kind)
    value, value_rest = _attend(
        q, q_rest, rel_h, rel_w, qkv + column, pad + column, tokens, slots,
        tl.load(keys + window), scale, heads, width, body, rest, columns, block, padded, aligned,
        kind, query_block, key_block,
    )  # fmt: skip
    target = out + token * (heads * width) + column
    _store(target, value, valid, 0, body, width)
    if rest:
        _store(target, value_rest, valid, body, rest, width)


@jit()
def _attend(
    q: tl.tensor, q_rest: tl.tensor, rel_h: tl.tensor, rel_w: tl.tensor,
    qkv: tl.tensor, pad: tl.tensor, tokens: tl.tensor, slots: tl.tensor,
    count: tl.tensor, scale: float, heads: tl.constexpr, width: tl.constexpr,
    body: tl.constexpr, rest: tl.constexpr, columns: tl.constexpr, block: tl.constexpr,
    padded: tl.constexpr, aligned: tl.constexpr, kind: tl.constexpr,
    query_block: tl.constexpr, key_block: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:  # fmt: skip
    """Return the values that queries [m, d] read, body and rest; the softmax is float32.

    Where the steps are rows of the window (``aligned``), the bias against the row is one number for
    each query, and that against the columns is the same in all steps. Elsewhere products with the
    one-hot rows and columns of the keys give them.
    """
    highest = tl.full([query_block], float("-inf"), tl.float32)
    total = tl.full([query_block], 0.0, tl.float32)
    value = tl.full([query_block, body], 0.0, tl.float32)
    value_rest = tl.full([query_block, rest if rest else 1], 0.0, tl.float32)
    for start in range(0, count, key_block):
        number = start + tl.arange(0, key_block)
        present = number < count
        token = tl.load(tokens + number, mask=present, other=0).to(tl.int64)
        key = qkv + token * (3 * heads * width)
        if padded:
            key = tl.where(token < 0, pad, key)
        key += heads * width
        logits = _product(q, _load(key, present, 0, body, width, kind).T)
        if rest:
            logits += _product(q_rest, _load(key, present, body, rest, width, kind).T)
        logits *= scale
        if aligned:
            row = tl.arange(0, block) == start // columns
            logits += tl.sum(tl.where(row[None, :], rel_h, 0.0), 1)[:, None] + rel_w
        else:
            slot = tl.load(slots + number, mask=present, other=0)
            logits += _product(rel_h.to(kind), _onehot(slot // columns, block).to(kind))
            logits += _product(rel_w.to(kind), _onehot(slot % columns, block).to(kind))
            logits = tl.where(present[None, :], logits, float("-inf"))

        higher = tl.maximum(highest, tl.max(logits, 1))
        weights = tl.exp2(logits - higher[:, None])
        shrink = tl.exp2(highest - higher)
        total = total * shrink + tl.sum(weights, 1)
        weights = weights.to(kind)
        key += heads * width
        value = value * shrink[:, None] + _product(
            weights, _load(key, present, 0, body, width, kind)
        )
        if rest:
            value_rest = value_rest * shrink[:, None] + _product(
                weights, _load(key, present, body, rest, width, kind)
            )
        highest = higher
    return value / total[:, None], value_rest / total[:, None]


@jit()
def _relative(
    q: tl.tensor, q_rest: tl.tensor, table: tl.tensor, position: tl.tensor,
    size: tl.constexpr, block: tl.constexpr, width: tl.constexpr, body: tl.constexpr,
    rest: tl.constexpr, kind: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return the bias, float32 [m, block], of queries at some rows against each row of a window.

    The same for columns. All differences are tried in one product, which those in question are
    taken from.
    """
    difference = tl.arange(0, 2 * block)
    products = _against(
        q, q_rest, table, difference, difference < 2 * size - 1, width, body, rest, kind
    )
    index = position[:, None] - tl.arange(0, block)[None, :] + size - 1
    return tl.gather(products, tl.maximum(index, 0), 1)


@jit()
def _against(
    q: tl.tensor, q_rest: tl.tensor, table: tl.tensor, row: tl.tensor, valid: tl.tensor,
    width: tl.constexpr, body: tl.constexpr, rest: tl.constexpr, kind: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Multiply queries by some rows of a table of relative positions: float32 [m, rows].

    Times LOG2_E, as all logits.
    """
    pointers = table + row * width
    products = _product(q, _load(pointers, valid, 0, body, width, kind).T)
    if rest:
        products += _product(q_rest, _load(pointers, valid, body, rest, width, kind).T)
    return products * 1.4426950408889634


@jit()
def _onehot(position: tl.tensor, block: tl.constexpr) -> tl.tensor:
    """Return bool [block, n]: True at the position of each of n keys."""
    return tl.arange(0, block)[:, None] == position[None, :]


@jit()
def _product(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    """Multiply [m, k] by [k, n] in full precision, float32 included: float32 [m, n]."""
    return tl.dot(a, b, input_precision="ieee")


@jit()
def _load(
    pointers: tl.tensor, valid: tl.tensor, start: tl.constexpr, count: tl.constexpr,
    width: tl.constexpr, kind: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Load some columns [n, count] of rows that begin at pointers [n]; 0 from ``width`` on."""
    column = start + tl.arange(0, count)
    mask = valid[:, None] & (column < width)[None, :]
    return tl.load(pointers[:, None] + column[None, :], mask=mask, other=0.0).to(kind)


@jit()
def _store(
    pointers: tl.tensor, values: tl.tensor, valid: tl.tensor, start: tl.constexpr,
    count: tl.constexpr, width: tl.constexpr,
) -> None:  # fmt: skip
    """Store what :func:`_load` would load."""
    column = start + tl.arange(0, count)
    mask = valid[:, None] & (column < width)[None, :]
    tl.store(pointers[:, None] + column[None, :], values, mask=mask)

"""ALiBi attention over batches of any form, one query at a time in float64.

Written from the words of alibi_attention and not from the forms that variants compute with.
"""

import math
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Answer(NamedTuple):
    """out [batch, heads, q_len, value_dim] and the log-sum-exp [batch, heads, q_len]."""

    out: Tensor
    log_sum_exp: Tensor


class _Token(NamedTuple):
    sequence: int
    position: int


def answer(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    *,
    causal: bool = True,
    scale: float | None = None,
    window: tuple[int, int] | None = None,
    block_tables: Tensor | None = None,
    **batch: Any,
) -> Answer:
    """Return the answer to a call of alibi_attention with these arguments."""
    if block_tables is not None:
        k, v = (_out_of_pages(part, block_tables) for part in (k, v))
    q, k, v, slopes = (tensor.double() for tensor in (q, k, v, slopes))
    slopes = slopes.expand(q.shape[0], -1)
    scale = q.shape[3] ** -0.5 if scale is None else scale
    before, after = (math.inf if steps < 0 else steps for steps in window or (-1, -1))
    groups = q.shape[1] // k.shape[1]
    out, log_sum_exp = q.new_zeros(*q.shape[:3], v.shape[3]), q.new_full(q.shape[:3], -math.inf)
    for entry in range(q.shape[0]):
        queries, keys = _tokens(entry, q.shape[2], k.shape[2], **batch)
        for row, query in enumerate(queries):
            seen = [
                slot
                for slot, key in enumerate(keys)
                if query and key and key.sequence == query.sequence
                if -before <= key.position - query.position <= (0 if causal else after)
            ]
            if not seen or query is None:
                continue
            away = torch.tensor([abs(keys[slot].position - query.position) for slot in seen])
            for head in range(q.shape[1]):
                scores = k[entry, head // groups, seen] @ q[entry, head, row] * scale
                scores = scores - slopes[entry, head] * away
                log_sum_exp[entry, head, row] = scores.logsumexp(0)
                out[entry, head, row] = scores.softmax(0) @ v[entry, head // groups, seen]
    return Answer(out, log_sum_exp)


def _out_of_pages(pages: Tensor, block_tables: Tensor) -> Tensor:
    """Return the slots of each sequence, page after page."""
    return torch.stack([torch.cat([*pages[table.tolist()]], dim=1) for table in block_tables])


def _tokens(
    entry: int,
    q_len: int,
    kv_len: int,
    key_padding: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    kv_lens: Tensor | None = None,
    q_offset: int | None = None,
) -> tuple[list[_Token | None], list[Any]]:
    """Return the queries and the keys of a batch entry; None stands for padding."""
    keys: list[_Token | None] = [None] * kv_len
    if cu_seqlens is not None:
        ends_k = (cu_seqlens if cu_seqlens_k is None else cu_seqlens_k).tolist()
        queries: list[_Token | None] = [None] * q_len
        for sequence, (first, end) in enumerate(pairwise(ends_k)):
            for slot in range(first, end):
                keys[slot] = _Token(sequence, slot - first)
            first_query, last_query = cu_seqlens[sequence : sequence + 2].tolist()
            for row in range(first_query, last_query):
                queries[row] = _Token(sequence, end - first - (last_query - row))
        return queries, keys
    if key_padding is not None:
        real = [slot for slot in range(kv_len) if not key_padding[entry, slot]]
    else:
        real = list(range(kv_len if kv_lens is None else int(kv_lens[entry])))
    for position, slot in enumerate(real):
        keys[slot] = _Token(0, position)
    if q_offset is not None:
        return [_Token(0, q_offset + row) for row in range(q_len)], keys
    if key_padding is not None:
        return keys[kv_len - q_len :], keys
    return [_Token(0, len(real) - q_len + row) for row in range(q_len)], keys

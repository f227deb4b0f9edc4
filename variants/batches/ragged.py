"""Batches of sequences of different lengths, for variants that compute one length at a time.

Padded: [batch, heads, longest, head_dim], with the padding after each sequence. Packed: [1, heads,
sum of lengths, head_dim], one sequence after another. Where a packed sequence has fewer queries
than keys (`q_lens`), they are its last tokens, as in a step of decode or a chunk of a prefill.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from variants.problem import Attention, Spec, Unsupported


def ragged(prepare: Callable[[Spec], Attention], spec: Spec) -> Attention:
    """Return attention over a ragged batch, made from a variant's `prepare` for one length.

    A padded batch is computed at its full length: causal queries never see the padding after them.
    A packed batch is computed one sequence at a time. Raises Unsupported for bidirectional padded
    batches, whose queries would see the padding.
    """
    if spec.packed:
        return _by_sequence(prepare, spec)
    if not spec.causal:
        raise Unsupported("bidirectional queries would see the padding; give them packed")
    return prepare(replace(spec, seq_lens=()))


def _by_sequence(prepare: Callable[[Spec], Attention], spec: Spec) -> Attention:
    keys = spec.seq_lens
    queries = spec.q_lens or keys
    attentions = {
        (q_len, kv_len): prepare(
            replace(spec, q_len=q_len, kv_len=kv_len, seq_lens=(), q_lens=(), packed=False)
        )
        for q_len, kv_len in zip(queries, keys, strict=True)
    }

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        q_parts = torch.split(q, list(queries), dim=2)
        k_parts, v_parts = (torch.split(tensor, list(keys), dim=2) for tensor in (k, v))
        return torch.cat(
            [
                attentions[q_part.shape[2], k_part.shape[2]](q_part, k_part, v_part, slopes)
                for q_part, k_part, v_part in zip(q_parts, k_parts, v_parts, strict=True)
            ],
            dim=2,
        )

    return attention

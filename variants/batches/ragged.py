"""Batches of sequences of different lengths, for variants that compute one length at a time.

Padded: [batch, heads, longest, head_dim], with the padding after each sequence. Packed: [1, heads,
sum of lengths, head_dim], one sequence after another.
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
    attentions = {
        length: prepare(replace(spec, q_len=length, kv_len=length, seq_lens=(), packed=False))
        for length in spec.seq_lens
    }

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        parts = [torch.split(tensor, list(spec.seq_lens), dim=2) for tensor in (q, k, v)]
        return torch.cat(
            [
                attentions[length](q_part, k_part, v_part, slopes)
                for length, q_part, k_part, v_part in zip(spec.seq_lens, *parts, strict=True)
            ],
            dim=2,
        )

    return attention

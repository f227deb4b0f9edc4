"""Batches of sequences of different lengths, for variants that know of one length alone.

Padded: [batch, heads, longest, head_dim], each sequence at its beginning. Packed: [1, heads, sum of
lengths, head_dim], one sequence after another.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from variants.problem import Attention, Spec, Unsupported


def ragged(prepare: Callable[[Spec], Attention], spec: Spec) -> Attention:
    """Return a padded batch's attention as that of full length, a packed one's by sequence.

    Causal queries never see the padding behind them; bidirectional ones would. Raises Unsupported.
    """
    if spec.packed:
        return _one_by_one(prepare, spec)
    if not spec.causal:
        raise Unsupported("bidirectional queries would see the padding; give them packed")
    return prepare(replace(spec, seq_lens=()))


def _one_by_one(prepare: Callable[[Spec], Attention], spec: Spec) -> Attention:
    own = {
        length: prepare(replace(spec, q_len=length, kv_len=length, seq_lens=(), packed=False))
        for length in spec.seq_lens
    }

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        parts = [torch.split(tensor, list(spec.seq_lens), dim=2) for tensor in (q, k, v)]
        return torch.cat(
            [
                own[length](q_own, k_own, v_own, slopes)
                for length, q_own, k_own, v_own in zip(spec.seq_lens, *parts, strict=True)
            ],
            dim=2,
        )

    return attention

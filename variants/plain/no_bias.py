"""no_bias: torch's SDPA without a bias, the time that every ratio is over.

For: the baseline of every table.
Not for: ALiBi: it has no bias.

It does not compute ALiBi: it is checked against an oracle without bias, shown as the baseline of
every table, and never ranked. The flash kernel stores no scores and stops at the diagonal. Stores
nothing, except for fewer queries than keys. There SDPA's is_causal would align top-left, so a chunk
takes torch's lower-right mask, which flash takes on CUDA; on the CPU that mask is stored, [q_len,
kv_len] in q's dtype. Source: torch's scaled_dot_product_attention.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention

from variants.batches.masked_sdpa import prepare_unbiased
from variants.batches.ragged import ragged
from variants.batches.sequences import GeneralAttention, Sequences
from variants.problem import DENSE, Attention, Spec


def prepare(spec: Spec) -> Attention:
    """Return bias-free SDPA; the slopes are ignored."""
    if spec.seq_lens:
        return ragged(prepare, spec)
    is_square = spec.causal and spec.q_len == spec.kv_len
    mask = _chunk(spec) if spec.causal and 1 < spec.q_len < spec.kv_len else None

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:  # noqa: ARG001
        return scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            is_causal=is_square,
            scale=spec.scale,
            enable_gqa=spec.heads != spec.kv_heads,
        )

    return attention


def prepare_general(spec: Spec) -> GeneralAttention:
    """Return bias-free SDPA with a mask of what each query sees; packed sequences take no mask."""
    if not spec.packed or spec.extras.window != (-1, -1):
        return prepare_unbiased(spec)
    attend = ragged(prepare, replace(spec, extras=DENSE))

    def one_by_one(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        slopes: Tensor,
        sequences: Sequences,  # noqa: ARG001
    ) -> tuple[Tensor, Tensor]:
        return attend(q, k, v, slopes), q.new_empty(0)

    return one_by_one


def _chunk(spec: Spec) -> Tensor:
    if spec.device.type == "cuda":
        return causal_lower_right(spec.q_len, spec.kv_len)
    hidden = torch.full((spec.q_len, spec.kv_len), float("-inf"), dtype=spec.dtype)
    return hidden.triu(spec.kv_len - spec.q_len + 1)

"""sdpa_mask: SDPA with the relative bias precomputed as a dense mask.

Stores a [1, heads, q_len, kv_len] mask in q's dtype with -inf above the diagonal, built at the
first call and kept while the slopes are the same; every call reads it from memory.
slope * (j - i) rounds harmlessly in half precision (slope * j would not). Source: torch's
documentation of attn_mask; the usual way to bring ALiBi to SDPA.
"""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from variants.problem import Attention, Spec
from variants.slopes_cache import built_once


def prepare(spec: Spec) -> Attention:
    """Return SDPA with a dense mask; torch picks the backend that takes it."""

    @built_once
    def mask(slopes: Tensor) -> Tensor:
        keys = torch.arange(spec.kv_len, device=spec.device)
        queries = torch.arange(spec.kv_len - spec.q_len, spec.kv_len, device=spec.device)
        distance = keys[None, :] - queries[:, None]  # [q_len, kv_len]
        bias = slopes[:, None, None] * -distance.abs()  # [heads, q_len, kv_len]
        if spec.causal:
            bias = bias.masked_fill(distance > 0, float("-inf"))
        return bias[None].to(spec.dtype)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask(slopes),
            scale=spec.scale,
            enable_gqa=q.shape[1] != k.shape[1],
        )

    return attention

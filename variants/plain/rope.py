"""rope: rotary embedding of queries and keys inside the call, then bias-free SDPA.

For: what a model with rotary embedding pays instead.
Not for: ALiBi: it has no bias.

This is the cost of a model that marks positions by rotation and not by ALiBi. It is checked against
an oracle for rotation and never ranked. Rotates in q's dtype, the two halves of a head against each
other, base 10000. Stores cos and sin, [q_len, head_dim] each, from float64 angles: float32 angles
would be off by 0.004 at position 131072. With more keys than queries, the last q_len keys are new
and the others come rotated, from a cache. The new keys are rotated into their slots in the cache,
as in a model, and the old values are put back after the call. Declines an odd head_dim.
Source: RoFormer (arXiv 2104.09864) as transformers' modeling_llama and modeling_gpt_neox have it.
"""

import torch
from torch import Tensor

from variants.batches.ragged import ragged
from variants.plain import no_bias
from variants.problem import Attention, Spec, Unsupported

BASE = 10000.0


def prepare(spec: Spec) -> Attention:
    """Return rotation and bias-free SDPA; the slopes are ignored."""
    if spec.seq_lens:
        return ragged(prepare, spec)
    if spec.head_dim % 2:
        raise Unsupported("rotation takes channels in pairs: make head_dim even")
    attend = no_bias.prepare(spec)
    cached = max(0, spec.kv_len - spec.q_len)
    cos, sin = _cos_and_sin(spec)
    new = min(spec.q_len, spec.kv_len)
    of_queries, of_keys = (cos, sin), (cos[-new:], sin[-new:])

    def whole(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return attend(_rotate(q, *of_queries), _rotate(k, *of_keys), v, slopes)

    def after_a_cache(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        slots = k[:, :, cached:]
        q, rotated = _rotate(q, *of_queries), _rotate(slots, *of_keys)
        if spec.needs_grad:  # a tensor that is written to can't have a gradient
            return attend(q, torch.cat([k[:, :, :cached], rotated], dim=2), v, slopes)
        unrotated = slots.clone()
        try:
            slots.copy_(rotated)
            return attend(q, k, v, slopes)
        finally:
            slots.copy_(unrotated)

    return after_a_cache if cached else whole


def _cos_and_sin(spec: Spec) -> tuple[Tensor, Tensor]:
    """Return cos and sin for the queries' rows; the last rows are those of the new keys."""
    last = max(spec.q_len, spec.kv_len)  # only differences matter, so no position is below 0
    positions = torch.arange(last - spec.q_len, last, dtype=torch.float64, device=spec.device)
    pairs = torch.arange(0, spec.head_dim, 2, dtype=torch.float64, device=spec.device)
    angles = torch.outer(positions, BASE ** (-pairs / spec.head_dim)).repeat(1, 2)
    return angles.cos().to(spec.dtype), angles.sin().to(spec.dtype)


def _rotate(rows: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = rows.chunk(2, dim=-1)
    return rows * cos + torch.cat([-second, first], dim=-1) * sin

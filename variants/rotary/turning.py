"""Attention over rows that are turned by their positions, in the call.

With more keys than queries, the last q_len keys are new and the others come turned, from a cache.
"""

import torch
from torch import Tensor

from variants.problem import Attention, Spec

BASE = 10000.0


def with_rotation(spec: Spec, attend: Attention) -> Attention:
    """Return attention that turns queries and new keys, then calls `attend`.

    New keys are turned into their slots in the cache, as in a model, and the old values are put
    back after the call. head_dim is even.
    """
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

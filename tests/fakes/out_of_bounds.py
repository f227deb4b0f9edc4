"""The right answer, until its third call reads out of bounds and so spoils a GPU's context."""

from functools import partial

import torch
from torch import Tensor

from variants.problem import Attention, Spec
from variants.reference import attend


def prepare(spec: Spec) -> Attention:
    """Return the formula with the fault in it, at 24 queries alone."""
    right = partial(attend, scale=spec.scale, causal=spec.causal)
    calls = 0

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 3 and spec.q_len == 24:
            far = torch.full((1,), 1 << 20, device=q.device)
            return right(q, k, v, slopes) + slopes[far].sum()
        return right(q, k, v, slopes)

    return attention

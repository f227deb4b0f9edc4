"""A dense bias, for providers that take a mask and make no ALiBi of their own."""

from collections.abc import Callable

import torch
from torch import Tensor

from variants.problem import Spec
from variants.slopes_cache import cache_by_slopes


def distance_and_hidden(spec: Spec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return -|i - j| as float32, and which pairs a causal mask hides: [q_len, kv_len] each."""
    rows = torch.arange(spec.kv_len - spec.q_len, spec.kv_len, device=device)[:, None]
    steps = torch.arange(spec.kv_len, device=device) - rows
    return -steps.abs().float(), (steps > 0) & spec.causal


def dense_bias(spec: Spec) -> Callable[[Tensor], Tensor]:
    """Return a function from slopes to the bias [1, heads, q_len, kv_len] in the spec's dtype.

    It is cached by slopes; pairs that a causal mask hides are -inf.
    """

    def build(slopes: Tensor) -> Tensor:
        distance, hidden = distance_and_hidden(spec, slopes.device)
        bias = slopes[:, None, None] * distance
        return bias.masked_fill(hidden, float("-inf"))[None].to(spec.dtype)

    return cache_by_slopes(build)

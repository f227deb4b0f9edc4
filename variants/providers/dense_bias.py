"""A dense bias, for providers that take a mask and make no ALiBi of their own."""

from collections.abc import Callable

import torch
from torch import Tensor

from variants.problem import Spec
from variants.slopes_cache import cache_by_slopes


def signed_distance(spec: Spec, device: torch.device) -> Tensor:
    """Return what a positive slope multiplies: [q_len, kv_len] float32, at most 0.

    It is -|i - j|, or -inf where a causal mask hides the key.
    """
    keys = torch.arange(spec.kv_len, device=device)
    distance = (keys - keys[spec.kv_len - spec.q_len :, None]).float()
    if spec.causal:
        return distance.masked_fill(distance > 0, float("-inf"))
    return -distance.abs()


def dense_bias(spec: Spec) -> Callable[[Tensor], Tensor]:
    """Return a function from slopes to the bias [1, heads, q_len, kv_len] in the spec's dtype.

    It is cached by slopes; pairs that a causal mask hides are -inf.
    """

    def build(slopes: Tensor) -> Tensor:
        return (slopes[:, None, None] * signed_distance(spec, slopes.device))[None].to(spec.dtype)

    return cache_by_slopes(build)

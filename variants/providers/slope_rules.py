"""Providers that make their own slopes: held against the caller's, never put in their place."""

import torch
from torch import Tensor

from variants.problem import Attention, Spec, Unsupported
from variants.slopes_cache import cache_by_slopes


def with_its_slopes(
    name: str, provider_slopes: Tensor, spec: Spec, attention: Attention
) -> Attention:
    """Return attention of a provider with its own slopes, for callers with the same slopes.

    `provider_slopes` is [heads], float32. Slopes in the reverse order are taken too, because the
    suite checks with them after timing: the heads are reversed, which costs a copy. The call raises
    Unsupported for any other slopes.
    """

    @cache_by_slopes
    def is_reversed(slopes: Tensor) -> bool:
        for answer, order in ((False, provider_slopes), (True, provider_slopes.flip(0))):
            if torch.allclose(slopes.cpu(), order, rtol=1e-6, atol=0):
                return answer
        raise Unsupported(
            f"{name} makes its own slopes for {spec.heads} heads, from {provider_slopes[0]:.4g} to "
            f"{provider_slopes[-1]:.4g}, and not from {slopes[0]:.4g} to {slopes[-1]:.4g}"
        )

    def call(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        if not is_reversed(slopes):
            return attention(q, k, v, slopes)
        return attention(q.flip(1), k.flip(1), v.flip(1), slopes.flip(0)).flip(1)

    return call


def literal_slopes(heads: int) -> Tensor:
    """Return 2^(-8 (h+1) / heads) for every head count, the rule of the paper's text."""
    return torch.exp2(-8.0 * torch.arange(1, heads + 1) / heads)

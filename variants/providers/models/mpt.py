"""mpt: MPT's attention as transformers ships it.

For: seeing what a user of MPT has today.
Not for: float32 that must be right; long sequences: scores have heads x q_len x kv_len numbers.

Bias: slope * (key - last key) in float32, added to products rounded to the model's dtype. Rows far
from the last key have biases of hundreds, which cost float32 scores digits; the judge refuses that
from some hundred keys on. The module runs as it is: only its projections are taken out, and a cache
hands it the caller's k and v. Source: transformers' MptAttention.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from variants.problem import Attention, Spec
from variants.providers.models.handed_cache import (
    HandedCache,
    by_heads,
    hidden_pairs,
    transformers_module,
)
from variants.providers.package import Abilities
from variants.slopes_cache import cache_by_slopes

_ABILITIES = Abilities(
    "MPT's attention",
    dtypes=("float32", "bfloat16", "float16"),
    grouped=False,
    gradients=True,
    traceable=True,
)


class _Query:
    """In place of the projected tensor, which the module cuts into queries, keys and values."""

    def __init__(self, rows: Tensor) -> None:
        self._rows = rows

    def chunk(self, parts: int, dim: int) -> tuple[Tensor, ...]:
        """Return the queries for each part; the cache replaces keys and values."""
        return (self._rows,) * parts


class _Projection(nn.Module):
    def forward(self, hidden: Tensor) -> _Query:
        return _Query(hidden)


def prepare(spec: Spec) -> Attention:
    """Return the module's attention; it makes the keys' biases when the slopes change."""
    _ABILITIES.decline(spec)

    @cache_by_slopes
    def position_bias(slopes: Tensor) -> Tensor:
        return (slopes[:, None] * torch.arange(1 - spec.kv_len, 1))[:, None]

    return _attention(spec, position_bias)


def shipped(spec: Spec) -> Attention:
    """Return the module's attention with the model's own biases, whatever slopes a call has."""
    mpt = transformers_module("mpt.modeling_mpt")
    built = mpt.build_mpt_alibi_tensor(spec.heads, spec.kv_len)
    return _attention(spec, lambda _: built)


def _attention(spec: Spec, position_bias: Callable[[Tensor], Tensor]) -> Attention:
    """Return the module's attention; `position_bias` is from slopes to [heads, 1, kv_len]."""
    mpt = transformers_module("mpt.modeling_mpt")
    config = mpt.MptConfig(
        d_model=spec.heads * spec.head_dim, n_heads=spec.heads, max_seq_len=spec.kv_len
    )
    with torch.device("meta"):  # the projections are never called
        module = mpt.MptAttention(config, 0).eval()
    module.Wqkv, module.out_proj = _Projection(), nn.Identity()
    module.softmax_scale = spec.scale
    mask = None
    if spec.q_len > 1:
        mask = hidden_pairs(spec)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        rows = q.transpose(1, 2).flatten(2)
        cache = HandedCache(k, v, spec.q_len)
        out = module(rows, position_bias(slopes), cache, mask)[0]
        return by_heads(spec, out)

    return attention

"""bloom: BLOOM's attention as transformers ships it.

For: seeing what a user of BLOOM has today.
Not for: answers that must be right: its biases cost scores digits, in bfloat16 most of them.

Bias: slope * key position, in the model's dtype, added before the softmax to rounded products. Two
neighbours far from the first key get the same bias in bfloat16. In float32 scores lose digits to
it, and the judge refuses that from some hundred keys on. The module runs as it is: only its
projections are taken out, and a cache hands it the caller's k and v. Source: transformers'
BloomAttention.
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
    "BLOOM's attention",
    dtypes=("float32", "bfloat16", "float16"),
    grouped=False,
    gradients=True,
    traceable=True,
)


def prepare(spec: Spec) -> Attention:
    """Return the module's attention; it makes the keys' biases when the slopes change."""
    _ABILITIES.decline(spec)

    @cache_by_slopes
    def alibi(slopes: Tensor) -> Tensor:
        bias = slopes[:, None] * torch.arange(spec.kv_len)
        return bias[:, None].to(spec.dtype).repeat(spec.batch, 1, 1)

    return _attention(spec, alibi)


def shipped(spec: Spec) -> Attention:
    """Return the module's attention with the model's own biases, whatever slopes a call has."""
    bloom = transformers_module("bloom.modeling_bloom")
    is_token = torch.ones(spec.batch, spec.kv_len, dtype=torch.long)
    built = bloom.build_alibi_tensor(is_token, spec.heads, spec.dtype)
    return _attention(spec, lambda _: built)


def _attention(spec: Spec, alibi: Callable[[Tensor], Tensor]) -> Attention:
    """Return the module's attention; `alibi` is from slopes to [batch * heads, 1, kv_len]."""
    bloom = transformers_module("bloom.modeling_bloom")
    config = bloom.BloomConfig(
        hidden_size=spec.heads * spec.head_dim,
        n_head=spec.heads,
        hidden_dropout=0.0,
        attention_dropout=0.0,
    )
    with torch.device("meta"):  # the projections are never called
        module = bloom.BloomAttention(config, 0).eval()
    module.query_key_value, module.dense = nn.Identity(), nn.Identity()
    module.inv_norm_factor = spec.scale
    hidden = torch.zeros(spec.batch, spec.q_len, spec.heads * spec.head_dim, dtype=spec.dtype)
    mask = None
    if spec.q_len > 1:
        mask = hidden_pairs(spec).to(spec.dtype) * torch.finfo(spec.dtype).min

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        module._reshape = lambda _: (q, q, q)  # the cache replaces k and v
        out = module(hidden, hidden, alibi(slopes), mask, HandedCache(k, v, spec.q_len))[0]
        module._reshape = None  # holds no tensor between calls
        return by_heads(spec, out)

    return attention

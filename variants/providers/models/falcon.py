"""falcon: Falcon's attention as transformers ships it, through SDPA or eager.

For: seeing what a user of Falcon-RW has today.
Not for: anything that must be right: biases are rounded to bfloat16 in every dtype.

Bias: slope * key position / sqrt(head_dim), where slope and position are multiplied in bfloat16.
Here the slopes are multiplied by sqrt(head_dim) first, so that the question is the caller's. The
model merges bias and causal mask once for all of its layers, so the merged mask is cached. Eager
attention adds the bias to the scores and the merged mask to both, so it has the bias twice. The
module runs as it is: only its projections are taken out, and a cache hands it the caller's k and v.
Source: transformers' FalconAttention and build_alibi_tensor.
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
    "Falcon's attention",
    dtypes=("float32", "bfloat16", "float16"),
    grouped=False,
    gradients=True,
    traceable=True,
    head_dim_multiple=2,
    any_scale=False,
)


def prepare(spec: Spec, implementation: str = "sdpa") -> Attention:
    """Return the module's attention; it merges mask and bias when the slopes change.

    `implementation` is "sdpa" or "eager", as transformers' attn_implementation.
    """
    _ABILITIES.decline(spec)

    def alibi(slopes: Tensor) -> Tensor:
        scaled = (slopes * spec.head_dim**0.5).bfloat16()[:, None]
        bias: Tensor = (scaled * torch.arange(spec.kv_len))[None, :, None]
        return bias.to(spec.dtype)

    return _attention(spec, alibi, implementation)


def shipped(spec: Spec, implementation: str = "sdpa") -> Attention:
    """Return the module's attention with the model's own biases, whatever slopes a call has."""
    falcon = transformers_module("falcon.modeling_falcon")
    is_token = torch.ones(1, spec.kv_len, dtype=torch.long)
    built = falcon.build_alibi_tensor(is_token, spec.heads, spec.dtype)[None]
    return _attention(spec, lambda _: built, implementation)


def _attention(spec: Spec, alibi: Callable[[Tensor], Tensor], implementation: str) -> Attention:
    """Return the module's attention; `alibi` is from slopes to [1, heads, 1, kv_len]."""
    falcon = transformers_module("falcon.modeling_falcon")
    config = falcon.FalconConfig(
        hidden_size=spec.heads * spec.head_dim,
        num_attention_heads=spec.heads,
        alibi=True,
        multi_query=False,
        new_decoder_architecture=False,
        attention_dropout=0.0,
        attn_implementation=implementation,
    )
    with torch.device("meta"):  # the projections are never called
        module = falcon.FalconAttention(config, 0).eval()
    module.query_key_value, module.dense = nn.Identity(), nn.Identity()
    hidden = torch.zeros(spec.batch, spec.q_len, spec.heads * spec.head_dim, dtype=spec.dtype)
    hidden_by_mask = hidden_pairs(spec)

    @cache_by_slopes
    def bias_and_mask(slopes: Tensor) -> tuple[Tensor, Tensor]:
        bias = alibi(slopes)
        scaled = bias / spec.head_dim**0.5
        return bias, torch.masked_fill(scaled, hidden_by_mask, torch.finfo(spec.dtype).min)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        rows, (bias, mask) = q.transpose(1, 2), bias_and_mask(slopes)
        module._split_heads = lambda _: (rows, rows, rows)  # the cache replaces k and v
        cache = HandedCache(k, v, spec.q_len)
        out = module(hidden, bias.expand(spec.batch, -1, -1, -1), mask, layer_past=cache)[0]
        module._split_heads = None  # holds no tensor between calls
        return by_heads(spec, out)

    return attention

"""xformers: memory-efficient attention with a dense bias.

For: seeing what users of xformers pay for ALiBi.
Not for: long sequences: the bias has heads x q_len x kv_len numbers; gradients of the slopes.

Bias: the caller's slopes times the relative distance, causal mask included, stored dense in the
inputs' dtype. Rows of the bias begin at multiples of 8 numbers, as its kernels ask. Not yet seen on
a GPU. Source: xformers.ops.memory_efficient_attention.
"""

import torch
from torch import Tensor

from variants.problem import Attention, Spec
from variants.providers.dense_bias import dense_bias
from variants.providers.package import Abilities, package
from variants.slopes_cache import cache_by_slopes

_ABILITIES = Abilities(
    "xformers",
    device="cuda",
    dtypes=("float32", "bfloat16", "float16"),
    bidirectional=True,
    grouped=False,
    gradients=True,
    traceable=True,
)
_ALIGNMENT = 8


def prepare(spec: Spec) -> Attention:
    """Return memory-efficient attention; it makes the dense bias when the slopes change."""
    _ABILITIES.decline(spec)
    ops = package("xformers.ops", "pip install xformers")
    dense = dense_bias(spec)

    @cache_by_slopes
    def align(slopes: Tensor) -> Tensor:
        bias = dense(slopes)
        room = torch.nn.functional.pad(bias, (0, -spec.kv_len % _ALIGNMENT))
        return room[..., : spec.kv_len].expand(spec.batch, -1, -1, -1)

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        rows = (tensor.transpose(1, 2) for tensor in (q, k, v))
        out: Tensor = ops.memory_efficient_attention(
            *rows, attn_bias=align(slopes), scale=spec.scale
        )
        return out.transpose(1, 2)

    return attention

"""flash_attn_4: FlashAttention 4 with the bias as a score_mod.

For: prefill on Hopper and Blackwell.
Not for: Ampere, gradients, bidirectional attention.

Bias: slope * (key - row), which differs from the definition by the same number in a whole row. The
slopes are an auxiliary tensor of the mod. Not yet seen on a GPU. Source: flash-attn-4,
flash_attn.cute.flash_attn_func.
"""

from functools import cache
from typing import Any

from torch import Tensor

from variants.problem import Attention, Spec
from variants.providers.package import Abilities, package

_INSTALL = "pip install flash-attn-4"
_ABILITIES = Abilities(
    "FlashAttention 4", device="cuda", dtypes=("bfloat16", "float16"), head_dim_multiple=8
)


@cache
def _alibi_mod() -> Any:
    """Return the score_mod; it is compiled by CUTLASS's Python."""
    cutlass, cute = package("cutlass", _INSTALL), package("cutlass.cute", _INSTALL)

    def alibi(
        score: Any,
        batch: Any,
        head: Any,
        q_idx: Any,
        kv_idx: Any,
        seqlen_info: Any,
        aux_tensors: Any,
    ) -> Any:
        slopes = aux_tensors[0]
        place = cute.make_fragment(1, cutlass.Int32)
        place.store(head)
        slope = cute.make_fragment(1, cutlass.Float32)
        slope[0] = slopes[place[0]]
        return score + slope.load() * (kv_idx - q_idx).to(cutlass.Float32)

    return cute.jit(alibi)


def prepare(spec: Spec) -> Attention:
    """Return FlashAttention 4's attention for tensors with heads before rows."""
    _ABILITIES.decline(spec)
    flash, mod = package("flash_attn.cute", _INSTALL), _alibi_mod()

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        rows = (tensor.transpose(1, 2) for tensor in (q, k, v))
        out = flash.flash_attn_func(
            *rows, softmax_scale=spec.scale, causal=True, score_mod=mod, aux_tensors=[slopes]
        )
        result: Tensor = out[0] if isinstance(out, tuple) else out
        return result.transpose(1, 2)

    return attention

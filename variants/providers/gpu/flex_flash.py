"""flex_flash: FlexAttention on FlashAttention 4's kernels instead of Triton's.

For: seeing what torch's own way to FlashAttention 4 takes on Hopper and Blackwell.
Not for: Ampere, gradients, a slope that is a number: captured tensors alone are taken.

Bias: that of our `flex`, -slope * |row + kv_len - q_len - key|. Each length is compiled anew. Not
yet seen on a GPU. Source: torch 2.11's kernel option BACKEND, with flash-attn-4.
"""

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from variants.flex.block_masks import block_mask_of
from variants.problem import Attention, Spec
from variants.providers.package import Abilities, package

_ABILITIES = Abilities(
    "FlexAttention's FLASH backend",
    device="cuda",
    dtypes=("bfloat16", "float16"),
    bidirectional=True,
)


def prepare(spec: Spec) -> Attention:
    """Return flex_attention with the FLASH backend, compiled for the spec."""
    _ABILITIES.decline(spec)
    package("flash_attn.cute", "pip install flash-attn-4")
    block_mask, offset = block_mask_of(spec), spec.kv_len - spec.q_len

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        def relative_bias(score, _batch, head, row, key):  # type: ignore[no-untyped-def]
            return score - slopes[head] * (row + offset - key).abs()

        out: Tensor = flex_attention(
            q,
            k,
            v,
            score_mod=relative_bias,
            block_mask=block_mask,
            scale=spec.scale,
            enable_gqa=spec.heads != spec.kv_heads,
            kernel_options={"BACKEND": "FLASH"},
        )
        return out

    compiled: Attention = torch.compile(attention, dynamic=False)
    return compiled

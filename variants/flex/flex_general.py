"""FlexAttention for batches of any form: bias and mask read where queries and keys stand."""

from collections.abc import Callable
from typing import cast

from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, flex_attention

from variants.batches.places import Places, clear_padding, places_of
from variants.batches.sequences import GeneralAttention, Sequences
from variants.compiled.torch_compile import compile_alone
from variants.flex.place_blocks import block_mask_from
from variants.problem import Spec

_Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, Places], tuple[Tensor, Tensor]]


def attention_of(spec: Spec) -> GeneralAttention:
    """Return flex_attention compiled for the spec; each call makes its BlockMask."""
    kernel = cast(_Kernel, compile_alone(_kernel_of(spec), spec.device))

    def attention(
        q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Sequences
    ) -> tuple[Tensor, Tensor]:
        places = Places._make(
            each.expand(spec.batch, -1).contiguous() for each in places_of(spec, sequences)
        )
        q = clear_padding(q, places.q_sequence)
        k, v = (clear_padding(tokens, places.k_sequence) for tokens in (k, v))
        return kernel(q, k, v, slopes.expand(spec.batch, -1), places)

    return attention


def _kernel_of(spec: Spec):  # type: ignore[no-untyped-def]
    def kernel(q, k, v, slopes, places):  # type: ignore[no-untyped-def]
        _, q_position, _, k_position = places

        def bias(score, batch, head, row, key):  # type: ignore[no-untyped-def]
            distance = (q_position[batch, row] - k_position[batch, key]).abs()
            return score - slopes[batch, head] * distance

        out, extra = flex_attention(
            q,
            k,
            v,
            score_mod=bias,
            block_mask=block_mask_from(spec, places),
            scale=spec.scale,
            enable_gqa=spec.heads != spec.kv_heads,
            return_aux=AuxRequest(lse=spec.extras.return_lse),
        )
        return out, q.new_empty(0).float() if extra.lse is None else extra.lse

    return kernel

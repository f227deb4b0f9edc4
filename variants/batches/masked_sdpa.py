"""SDPA with a mask made from places, for batches of any form.

The mask depends on the call's slopes and sequences. On a CPU it is made again when those change.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from variants.batches.contents_cache import cache_by_contents
from variants.batches.formula import bias, blank, hide
from variants.batches.places import clear_padding, pairs_of, places_of
from variants.batches.sequences import GeneralAttention, Sequences
from variants.problem import Spec, Unsupported
from variants.reference import for_each_head

_ALIGNED = 8  # CUDA's efficient kernel reads masks whose rows begin at multiples of this


class _Plan(NamedTuple):
    """A mask of biases, and what is padding or sees no key: bool [batch or 1, 1, length, 1]."""

    q_padding: Tensor
    k_padding: Tensor
    sees_none: Tensor
    mask: Tensor


def prepare_masked(spec: Spec) -> GeneralAttention:
    """Return SDPA that makes a mask, and on a CPU keeps it for calls with the same sequences.

    Raises Unsupported where torch gives no log-sum-exp: with gradients and with dropout.
    """
    if spec.extras.return_lse and (spec.needs_grad or spec.slopes_need_grad):
        raise Unsupported("SDPA's log-sum-exp has no gradient; eager's has")
    if spec.extras.return_lse and spec.extras.dropout_p:
        raise Unsupported("SDPA gives no log-sum-exp with dropout; eager does")
    # torch's kernels for GPUs, and for learned masks, take q's dtype only.
    is_wide = spec.device.type == "cpu" and not spec.slopes_need_grad
    mask_dtype = torch.float32 if is_wide else spec.dtype

    @cache_by_contents
    def plan_for(slopes: Tensor, sequences: Sequences) -> _Plan:
        places = places_of(spec, sequences)
        pairs = pairs_of(spec, places)
        return _Plan(
            (places.q_sequence < 0)[:, None, :, None],
            (places.k_sequence < 0)[:, None, :, None],
            ~pairs.visible.any(dim=-1)[:, None, :, None],
            hide(pairs, bias(slopes, pairs.distance)).to(mask_dtype),
        )

    def attention(
        q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Sequences
    ) -> tuple[Tensor, Tensor]:
        plan = plan_for(slopes, sequences)
        q = q.masked_fill(plan.q_padding, 0.0)
        k, v = (tokens.masked_fill(plan.k_padding, 0.0) for tokens in (k, v))
        if spec.extras.return_lse:
            out, log_sum_exp = _with_log_sum_exp(spec, q, k, v, plan.mask)
            log_sum_exp = log_sum_exp.masked_fill(plan.sees_none, -math.inf)
            return out.masked_fill(plan.sees_none, 0.0), log_sum_exp.squeeze(-1)
        out = scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=plan.mask,
            dropout_p=spec.extras.dropout_p,
            scale=spec.scale,
            enable_gqa=spec.heads != spec.kv_heads,
        )
        return out.masked_fill(plan.sees_none, 0.0), q.new_empty(0, dtype=torch.float32)

    return attention


def prepare_unbiased(spec: Spec) -> GeneralAttention:
    """Return SDPA without a bias, with a mask of bools made at each call; no log-sum-exp."""
    grouped = spec.heads != spec.kv_heads

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        return scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=spec.scale, enable_gqa=grouped
        )

    def attention(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        slopes: Tensor,  # noqa: ARG001
        sequences: Sequences,
    ) -> tuple[Tensor, Tensor]:
        places = places_of(spec, sequences)
        pairs = pairs_of(spec, places)
        q = clear_padding(q, places.q_sequence)
        k, v = (clear_padding(tokens, places.k_sequence) for tokens in (k, v))
        sees_none = ~pairs.visible.any(dim=-1, keepdim=True)
        out = attend(q, k, v, (pairs.visible | sees_none)[:, None])
        return blank(out, pairs, 0.0), q.new_empty(0)

    return attention


def _with_log_sum_exp(
    spec: Spec, q: Tensor, k: Tensor, v: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the output and its log-sum-exp [batch, heads, q_len, 1] from torch's own kernels."""
    value_dim = v.shape[3]
    width = max(spec.head_dim, value_dim)  # zeros add nothing to a product
    q, k, v = (pad(tokens, (0, width - tokens.shape[3])) for tokens in (q, k, v))
    mask = mask.expand(spec.batch, spec.heads, -1, -1)
    if spec.device.type == "cpu":
        out, log_sum_exp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            *(q, k, v, 0.0, False), attn_mask=mask, scale=spec.scale
        )
    else:
        k, v = for_each_head(q, k), for_each_head(q, v)
        mask = pad(mask, (0, -spec.kv_len % _ALIGNED))[..., : spec.kv_len]
        out, log_sum_exp, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
            *(q, k, v, mask, True), scale=spec.scale
        )
    return out[..., :value_dim], log_sum_exp[:, :, : spec.q_len, None]

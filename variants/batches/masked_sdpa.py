"""SDPA with a mask made from places, for batches of any form.

The mask depends on the call's slopes and sequences. On a CPU it is made again when those change.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from variants.batches.contents_cache import cache_by_contents
from variants.batches.formula import bias, hide, sees_none
from variants.batches.places import Pairs, is_padding, pairs_of, places_of
from variants.batches.sequences import GeneralAttention, Sequences
from variants.problem import Spec, Unsupported
from variants.reference import for_each_head

_ALIGNED = 8  # CUDA's efficient kernel reads masks whose rows begin at multiples of this


class _Plan(NamedTuple):
    """A mask, and what is padding or sees no key: bool [batch or 1, 1, length, 1]."""

    q_padding: Tensor
    k_padding: Tensor
    sees_none: Tensor
    mask: Tensor

    def clear(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v with 0 in padding."""
        k, v = (tokens.masked_fill(self.k_padding, 0.0) for tokens in (k, v))
        return q.masked_fill(self.q_padding, 0.0), k, v


def _planner(
    spec: Spec, mask_of: Callable[[Tensor, Pairs], Tensor]
) -> Callable[[Tensor, Sequences], _Plan]:
    """Return what makes a plan, and on a CPU keeps it for calls with the same contents.

    `mask_of` makes the mask from slopes and pairs.
    """

    @cache_by_contents
    def plan_for(slopes: Tensor, sequences: Sequences) -> _Plan:
        places = places_of(spec, sequences)
        pairs = pairs_of(spec, places)
        paddings = is_padding(places.q_sequence), is_padding(places.k_sequence)
        return _Plan(*paddings, sees_none(pairs), mask_of(slopes, pairs))

    return plan_for


def prepare_masked(spec: Spec) -> GeneralAttention:
    """Return SDPA with a mask of biases.

    Raises Unsupported where torch gives no log-sum-exp: with gradients and with dropout.
    """
    if spec.extras.return_lse and (spec.needs_grad or spec.slopes_need_grad):
        raise Unsupported("SDPA's log-sum-exp has no gradient; eager's has")
    if spec.extras.return_lse and spec.extras.dropout_p:
        raise Unsupported("SDPA gives no log-sum-exp with dropout; eager does")
    # torch's kernels for GPUs, and for learned masks, take q's dtype only.
    is_wide = spec.device.type == "cpu" and not spec.slopes_need_grad
    mask_dtype = torch.float32 if is_wide else spec.dtype
    plan_for = _planner(
        spec, lambda slopes, pairs: hide(pairs, bias(slopes, pairs.distance)).to(mask_dtype)
    )

    def attention(
        q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Sequences
    ) -> tuple[Tensor, Tensor]:
        plan = plan_for(slopes, sequences)
        q, k, v = plan.clear(q, k, v)
        if spec.extras.return_lse:
            out, log_sum_exp = _with_log_sum_exp(spec, q, k, v, plan.mask)
            log_sum_exp = log_sum_exp.masked_fill(plan.sees_none, -math.inf)
            return out.masked_fill(plan.sees_none, 0.0), log_sum_exp.squeeze(-1)
        return _attend(spec, plan, q, k, v), q.new_empty(0, dtype=torch.float32)

    return attention


def prepare_unbiased(spec: Spec) -> GeneralAttention:
    """Return SDPA without a bias, with a mask of bools; no log-sum-exp."""
    plan_for = _planner(spec, lambda _, pairs: pairs.visible[:, None] | sees_none(pairs))

    def attention(
        q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Sequences
    ) -> tuple[Tensor, Tensor]:
        plan = plan_for(slopes, sequences)
        return _attend(spec, plan, *plan.clear(q, k, v)), q.new_empty(0)

    return attention


def _attend(spec: Spec, plan: _Plan, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    out = scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=plan.mask,
        dropout_p=spec.extras.dropout_p,
        scale=spec.scale,
        enable_gqa=spec.heads != spec.kv_heads,
    )
    return out.masked_fill(plan.sees_none, 0.0)


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

"""torch's flash kernel on the CPU: with a mask and is_causal, and with its log-sum-exp.

The kernel takes a mask together with is_causal in every torch. SDPA, which would call it, refuses
the two together from torch 2.14 on. Parts of attention are merged by their log-sum-exp.

Tensors must be contiguous in their last dimension; the kernel does not check.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.backends.cuda import flash_sdp_enabled

from variants.problem import Unsupported

_forward = torch._scaled_dot_product_flash_attention_for_cpu  # torch.ops' takes 5 us a call more
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default


def contiguous_rows(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors that are contiguous in their last dimension, copied only where needed."""
    return tuple(part if part.stride(-1) == 1 else part.contiguous() for part in tensors)


def cut(rows: Tensor, size: int) -> Tensor:
    """Return [heads, length, head_dim] cut into parts: a view [parts, heads, size, head_dim]."""
    return torch.unflatten(rows, 1, (-1, size)).transpose(0, 1)


def attend_causally(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
    """Return causal attention with a mask added to its scores: [batch, heads, length, head_dim].

    q is [batch, heads, length, head_dim], k and v [batch, kv_heads, length, head_dim]. The mask
    expands to [batch, heads, length, length]; it is float32 or in q's dtype and gets no gradient.
    Raises Unsupported where SDPA would not take its flash kernel.
    """
    if not flash_sdp_enabled():
        raise Unsupported(
            "only torch's flash kernel takes a mask together with is_causal, and it is off: "
            "leave SDPBackend.FLASH_ATTENTION on"
        )
    if not q.stride(-1) == k.stride(-1) == v.stride(-1) == 1:
        raise Unsupported(
            "only torch's flash kernel takes a mask together with is_causal, and it would misread "
            "these tensors: make q, k and v contiguous"
        )
    return _forward(q, k, v, 0.0, True, attn_mask=mask, scale=scale)[0]


def attend(
    parts: Sequence[Tensor], mask: Tensor, scale: float, *, is_causal: bool
) -> tuple[Tensor, Tensor]:
    """Return the output [parts, size, heads, head_dim] and its log-sum-exp [parts, size, heads].

    `parts` are q [parts, heads, size, head_dim], k and v [parts, kv_heads, keys, head_dim]; the
    mask is float32.
    """
    q, k, v = parts
    out, log_sum_exp = _forward(q, k, v, 0.0, is_causal, attn_mask=mask, scale=scale)
    return out.transpose(1, 2), log_sum_exp.transpose(1, 2)


def gradients(
    grad_out: Tensor,
    parts: Sequence[Tensor],
    out: Tensor,
    log_sum_exp: Tensor,
    mask: Tensor,
    scale: float,
    *,
    is_causal: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of the q, k and v of one part of the keys.

    `parts` are q, k and v as attend() takes them. `grad_out`, `out` and `log_sum_exp` are shaped as
    attend() returns them, but belong to whole rows, merged over all parts: a part's weights are
    exp(score - log-sum-exp of the row).
    """
    grad_out, out, log_sum_exp = (rows.transpose(1, 2) for rows in (grad_out, out, log_sum_exp))
    part_gradients: tuple[Tensor, Tensor, Tensor] = _backward(
        grad_out, *parts, out, log_sum_exp, 0.0, is_causal, attn_mask=mask, scale=scale
    )
    return part_gradients


def merge(near: Tensor, far: Tensor, log_odds: Tensor, out: Tensor) -> None:
    """Write attention over two sets of keys, `near` and `far`, to `out`, which may be `near`.

    All three are [..., size, heads, head_dim]. `log_odds` [..., size, heads] is the log-sum-exp of
    `near` minus that of `far`. Each side has a float32 weight of its own: far values may be so much
    larger that 1 minus the other weight would lose their digits.
    """
    of_near, of_far = (torch.sigmoid(odds)[..., None] for odds in (log_odds, -log_odds))
    out.copy_(torch.addcmul(near * of_near, far, of_far))


BURIED = 64.0  # keys with a bias under -64 are left out where the depth allows it


def hide_buried(bias: Tensor) -> Tensor:
    """Return the bias with -inf where it is below -BURIED.

    Otherwise exp() of far keys would be subnormal in float32, and products of those are slow.
    """
    return bias.masked_fill(bias < -BURIED, -torch.inf)

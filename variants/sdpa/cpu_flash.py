"""torch's flash kernel on the CPU, with the log-sum-exp by which parts of attention are merged.

Tensors must be contiguous in their last dimension; the kernel does not check.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default


def contiguous_rows(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors that are contiguous in their last dimension, copied only where needed."""
    return tuple(part if part.stride(-1) == 1 else part.contiguous() for part in tensors)


def cut(rows: Tensor, size: int) -> Tensor:
    """Return [heads, length, head_dim] cut into parts: a view [parts, heads, size, head_dim]."""
    return torch.unflatten(rows, 1, (-1, size)).transpose(0, 1)


def attend(
    parts: Sequence[Tensor], mask: Tensor, scale: float, *, is_causal: bool
) -> tuple[Tensor, Tensor]:
    """Return the output [parts, size, heads, head_dim] and its log-sum-exp [parts, size, heads].

    `parts` are q [parts, heads, size, head_dim], k and v [parts, kv_heads, keys, head_dim]; the
    mask is float32.
    """
    out, log_sum_exp = _forward(*parts, 0.0, is_causal, attn_mask=mask, scale=scale)
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


FLASH_REFUSED = "Explicit attn_mask should not be set"  # torch, when flash can't take a call

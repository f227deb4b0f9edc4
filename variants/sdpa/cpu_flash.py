"""torch's flash kernel on the CPU with its log-sum-exp, by which parts of attention are merged.

Tensors have to be contiguous in their last dimension: the kernel itself doesn't ask.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default


def side_by_side(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors whose last dimension is contiguous, copied where it is not."""
    return tuple(one if one.stride(-1) == 1 else one.contiguous() for one in tensors)


def cut(rows: Tensor, size: int) -> Tensor:
    """Return [heads, length, head_dim] as a view [parts, heads, size, head_dim]."""
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
    """Return what a part gives to the gradients of its own q, k and v.

    `parts` are q, k and v as attend() takes them, the others as it returns them, but of the whole
    row: a part's weights are exp(score - log-sum-exp) of the row, whatever else is in it.
    """
    grad_out, out, log_sum_exp = (one.transpose(1, 2) for one in (grad_out, out, log_sum_exp))
    found: tuple[Tensor, Tensor, Tensor] = _backward(
        grad_out, *parts, out, log_sum_exp, 0.0, is_causal, attn_mask=mask, scale=scale
    )
    return found


def merge(own: Tensor, far: Tensor, log_odds: Tensor, out: Tensor) -> None:
    """Write the attention to two sets of keys to `out`, which may be `own`.

    `log_odds` [..., size, heads] is how much larger own's log-sum-exp is than far's.
    """
    torch.lerp(far, own, torch.sigmoid(log_odds)[..., None].to(own.dtype), out=out)


BURIED = 64.0  # keys this far down by their bias are left out where depth says that they can be


def without_buried(bias: Tensor) -> Tensor:
    """Return the bias with -inf where it is below -BURIED.

    Where it is not, exp() of far keys is subnormal in float32, and products of those are slow.
    """
    return bias.masked_fill(bias < -BURIED, -torch.inf)


FLASH_REFUSED = "Explicit attn_mask should not be set"  # what torch says on its way to math

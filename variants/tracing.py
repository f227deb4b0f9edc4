"""What torch traces: whether it traces the calls made now, and what it is told of our operators.

What is made in a trace or a transform must not outlive it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad


def is_traced() -> bool:
    """Return whether tensors made now may be fake, wrapped, dual, or part of a graph.

    That is so under FakeTensorMode and other dispatch modes, in exports and traces, in torch.func's
    transforms, and in forward-mode differentiation. Modes that only count, such as FlopCounterMode,
    can't be told from them.
    """
    return (
        torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
        or torch._C._get_tracing_state() is not None
    )


def has_tangent(*tensors: Tensor) -> bool:
    """Return whether a forward-mode derivative along any of the tensors is wanted."""
    if forward_ad._current_level < 0:
        return False
    return any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors)


def operations(
    q: Sequence[int], k: Sequence[int], v: Sequence[int], *_: object, **__: object
) -> int:
    """Return the multiplications and additions of attention over all pairs, as torch counts them.

    The arguments are shapes: q [batch, heads, q_len, head_dim], k and v with kv_heads and kv_len.
    Others of an operator are ignored.
    """
    return 2 * q[0] * q[1] * q[2] * k[2] * (q[3] + v[3])


def gradient_operations(q: Sequence[int], k: Sequence[int], v: Sequence[int]) -> int:
    """Return those of a backward's five products: three of head_dim, two of v's."""
    return 2 * q[0] * q[1] * q[2] * k[2] * (3 * q[3] + 2 * v[3])


def fake_gradients(
    d_out: Tensor,  # noqa: ARG001
    d_log_sum_exp: Tensor | None,  # noqa: ARG001
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    *options: object,  # noqa: ARG001
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return memory for the gradients of q, k, v and slopes, contiguous.

    This is the fake of a backward's operator, whatever options follow the slopes.
    """
    d_q, d_k, d_v, d_slopes = (
        torch.empty_like(tensor, memory_format=torch.contiguous_format)
        for tensor in (q, k, v, slopes)
    )
    return d_q, d_k, d_v, d_slopes


def call_by_entry(operator: Callable[..., tuple[Tensor, ...]]) -> Callable[..., Any]:
    """Return an operator's rule for vmap: a call for each entry, whose results are stacked.

    Without a rule torch does the same, and from 2.15 on warns that one is missing.
    """

    def rule(info: Any, in_dims: Any, *arguments: Any) -> tuple[tuple[Tensor, ...], Any]:
        # The dim of a list, such as a window, is a list of None.
        calls = [
            operator(
                *(
                    value.select(dim, entry) if isinstance(dim, int) else value
                    for value, dim in zip(arguments, in_dims, strict=True)
                )
            )
            for entry in range(info.batch_size)
        ]
        results = tuple(torch.stack(parts) for parts in zip(*calls, strict=True))
        return results, (0,) * len(results)

    return rule

"""The C++ kernel as one torch operator, which the profiler names and torch.compile leaves whole.

`kernel_call` calls the kernel. This module checks all that the kernel would read out of bounds or
answer wrongly, and tells torch what the operator returns.
"""

from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import cast

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils.flop_counter import register_flop_formula

from variants.native.kernel_call import MOST_KEYS, Reach, attend, out_like
from variants.native.kernel_library import MOST_HEAD_DIM, SEQUENCE_FIELDS
from variants.problem import Spec, Unsupported
from variants.tracing import is_traced

_SCHEMA = (
    "native_window(Tensor q, Tensor k, Tensor v, Tensor slopes, float scale, int before, int after,"
    " Tensor? sequences, bool wants_log_sum_exp) -> (Tensor, Tensor)"
)
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_lock = Lock()

Operator = Callable[
    [Tensor, Tensor, Tensor, Tensor, float, int, int, Tensor | None, bool], tuple[Tensor, Tensor]
]


def is_plain(spec: Spec, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> bool:
    """Return whether a dense call fits its spec, and torch would do nothing but call the kernel.

    The operator costs 0.1 ms. Torch does more with it for tensors that need a gradient, for
    subclasses, in traces and transforms, and where a profiler writes down what runs.
    """
    return (
        not torch.compiler.is_compiling()
        and not is_traced()
        and not torch._C._autograd._profiler_enabled()
        and type(q) is type(k) is type(v) is type(slopes) is Tensor
        and q.is_cpu
        and k.device == v.device == slopes.device == q.device
        and k.dtype == v.dtype == q.dtype == spec.dtype
        and slopes.dtype == torch.float32
        and q.shape == (spec.batch, spec.heads, spec.q_len, spec.head_dim)
        and k.shape == v.shape == (spec.batch, spec.kv_heads, spec.kv_len, spec.head_dim)
        and slopes.shape == (spec.heads,)
        and not (torch.is_grad_enabled() and _needs_grad(q, k, v, slopes))
    )


def _needs_grad(*tensors: Tensor) -> bool:
    return any(tensor.requires_grad for tensor in tensors)


def operator() -> Operator:
    """Return `kernel_call.attend` as a torch operator that returns out and the log-sum-exp.

    A call raises ValueError for tensors that don't fit together, or that the kernel can't take, and
    Unsupported where a derivative is wanted or the kernel can't be built.
    """
    with _lock:
        _register()
    return cast(Operator, torch.ops.alibi_bench.native_window.default)


@cache
def _register() -> torch.library.Library:
    """Register the operator, which lives as long as the returned library."""
    fragment = torch.library.Library("alibi_bench", "FRAGMENT")
    fragment.define(_SCHEMA)
    fragment.impl("native_window", _on_cpu, "CPU")
    fragment.impl("native_window", _refuse_derivatives, "Autograd")
    torch.library.register_fake("alibi_bench::native_window", _fake, lib=fragment)
    register_flop_formula(torch.ops.alibi_bench.native_window)(_operations)
    return fragment


def _on_cpu(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    scale: float,
    before: int,
    after: int,
    sequences: Tensor | None,
    wants_log_sum_exp: bool,
) -> tuple[Tensor, Tensor]:
    refuse_shapes(q, k, v, slopes, before, after)
    if sequences is not None:
        refuse_sequences(sequences, q, k)
    elif after == 0 and q.shape[2] > k.shape[2]:
        raise ValueError(f"q_len {q.shape[2]}: causal attention takes at most {k.shape[2]} here")
    done = attend(
        *(q, k, v, slopes, scale, Reach(before, after)),
        sequences=sequences,
        wants_log_sum_exp=wants_log_sum_exp,
    )
    return done.out, done.log_sum_exp


def _fake(
    q: Tensor,
    k: Tensor,  # noqa: ARG001
    v: Tensor,
    slopes: Tensor,  # noqa: ARG001
    scale: float,  # noqa: ARG001
    before: int,  # noqa: ARG001
    after: int,  # noqa: ARG001
    sequences: Tensor | None,  # noqa: ARG001
    wants_log_sum_exp: bool,
) -> tuple[Tensor, Tensor]:
    wanted = q.shape[:3] if wants_log_sum_exp else (0,)
    return out_like(q, v.shape[3]), q.new_empty(wanted, dtype=torch.float32)


def _operations(q: list[int], k: list[int], v: list[int], *_: object, **__: object) -> int:
    """Return the operations of all pairs, as torch counts attention, from the tensors' shapes."""
    return 2 * q[0] * q[1] * q[2] * k[2] * (q[3] + v[3])


def _refuse_derivatives(
    q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, *options: object
) -> tuple[Tensor, Tensor]:
    """Call the operator, or raise Unsupported where it would have to give derivatives.

    Without this rule torch would take the output for a constant.
    """
    tensors = (q, k, v, slopes)
    if torch.is_grad_enabled() and _needs_grad(*tensors):
        raise Unsupported("the kernel has no backward; eager, compile and sdpa_mask do")
    if forward_ad._current_level >= 0 and any(map(_has_tangent, tensors)):
        raise Unsupported("the kernel has no forward-mode derivative; eager has")
    with torch._C._AutoDispatchBelowAutograd():
        return operator()(q, k, v, slopes, *options)  # type: ignore[arg-type]


def _has_tangent(tensor: Tensor) -> bool:
    dual = forward_ad.unpack_dual(tensor)
    return dual.tangent is not None


def refuse_shapes(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, before: int, after: int) -> None:
    """Raise ValueError for tensors that the kernel would read out of bounds or answer wrongly."""
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if tensor.dim() != 4 or 0 in tensor.shape[:2] or not tensor.shape[3]:
            raise ValueError(f"{name} is {list(tensor.shape)}: give [batch, heads, length, dim]")
        if tensor.dtype not in _DTYPES or tensor.dtype != q.dtype:
            raise ValueError(f"{name} is {tensor.dtype} and q {q.dtype}: give one floating dtype")
        if tensor.shape[3] > MOST_HEAD_DIM:
            raise ValueError(f"head_dim {tensor.shape[3]}: the kernel has room for {MOST_HEAD_DIM}")
        if tensor.shape[2] > MOST_KEYS:
            raise ValueError(f"length {tensor.shape[2]}: the kernel counts to {MOST_KEYS}")
    batch, heads = q.shape[:2]
    if k.shape[0] != batch or k.shape[3] != q.shape[3]:
        raise ValueError(f"q is {list(q.shape)} and k {list(k.shape)}: batch or head_dim differ")
    if v.shape[:3] != k.shape[:3]:
        raise ValueError(f"k is {list(k.shape)} and v {list(v.shape)}: only their last may differ")
    if heads % k.shape[1]:
        raise ValueError(f"{heads} heads can't share {k.shape[1]} kv heads evenly")
    if slopes.dtype != torch.float32:
        raise ValueError(f"slopes {slopes.dtype}: the kernel reads float32")
    if list(slopes.shape) not in ([heads], [batch, heads]):
        raise ValueError(f"slopes are {list(slopes.shape)}: give [{heads}] or [{batch}, {heads}]")
    if min(before, after) < 0:
        raise ValueError(f"reach {before}, {after}: give positions, at least 0 on both sides")


def refuse_sequences(sequences: Tensor, q: Tensor, k: Tensor) -> None:
    """Raise ValueError for sequences that are not inside of q and k."""
    if sequences.dtype != torch.int64 or sequences.shape[1:] != (len(SEQUENCE_FIELDS),):
        shape = f"[sequences, {len(SEQUENCE_FIELDS)}]"
        raise ValueError(f"sequences {sequences.dtype} {list(sequences.shape)}: give int64 {shape}")
    batch, first_query, queries, first_key, keys, position = sequences.unbind(1)
    parts = ((batch, 1, q.shape[0]), (first_query, queries, q.shape[2]))
    for first, count, size in (*parts, (first_key, keys, k.shape[2])):
        inside = (first >= 0) & (torch.as_tensor(count) >= 0) & (first + count <= size)
        if not inside.all():
            line = int((~inside).nonzero()[0])
            raise ValueError(f"sequence {line}, {sequences[line].tolist()}: it ends past {size}")
    if (position.abs() > MOST_KEYS).any():
        raise ValueError(f"positions {position.tolist()}: the kernel counts to {MOST_KEYS}")

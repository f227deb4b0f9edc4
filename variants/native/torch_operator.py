"""The C++ kernel as one torch operator, which the profiler names and torch.compile leaves whole.

`kernel_call` calls the kernel. This module has `call_checks` refuse all that the kernel would read
out of bounds or answer wrongly, and tells torch what the operator returns.
"""

from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import cast

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from variants.batches.cache_norms import refuse_norms
from variants.batches.pages import room_of
from variants.native.call_checks import refuse_sequences, refuse_shapes
from variants.native.kernel_arguments import Reach
from variants.native.kernel_call import attend, out_like
from variants.native.torch_backward import register_backward, with_gradients
from variants.tracing import call_by_entry, operations

_SCHEMA = (
    "native_window(Tensor q, Tensor k, Tensor v, Tensor slopes, float scale, int before, int after,"
    " Tensor? sequences, Tensor? norms, Tensor? block_tables, bool wants_log_sum_exp)"
    " -> (Tensor, Tensor)"
)
_lock = Lock()

_OptionalTensor = Tensor | None
Operator = Callable[
    [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
        float,
        int,
        int,
        *tuple[_OptionalTensor, _OptionalTensor, _OptionalTensor],
        bool,
    ],
    tuple[Tensor, Tensor],
]


def operator() -> Operator:
    """Return `kernel_call.attend` as a torch operator that returns out and the log-sum-exp.

    Its gradients have none in turn. A call raises ValueError for tensors that don't fit together or
    that the kernel can't take, and Unsupported where a forward-mode derivative is wanted or the
    kernel can't be built.
    """
    with _lock:
        _register()
    return cast(Operator, torch.ops.alibi_bench.native_window.default)


@cache
def _register() -> torch.library.Library:
    """Register the operator and its backward, which live as long as the returned library."""
    fragment = torch.library.Library("alibi_bench", "FRAGMENT")
    fragment.define(_SCHEMA)
    fragment.impl("native_window", checked_attend, "CPU")
    fragment.impl("native_window", with_gradients, "Autograd")
    torch.library.register_fake("alibi_bench::native_window", _fake, lib=fragment)
    operation = torch.ops.alibi_bench.native_window.default
    torch.library.register_vmap(operation, call_by_entry(operation), lib=fragment)
    register_flop_formula(torch.ops.alibi_bench.native_window)(operations)
    register_backward(fragment)
    return fragment


def checked_attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    scale: float,
    before: int,
    after: int,
    sequences: Tensor | None,
    norms: Tensor | None,
    block_tables: Tensor | None,
    wants_log_sum_exp: bool,
    *,
    spare_room: list[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what the operator does for tensors on a CPU that need no gradient."""
    refuse_shapes(q, k, v, slopes, before, after, block_tables)
    room = room_of(k, block_tables)
    if norms is not None:
        refuse_norms(norms, q.shape[0], k.shape[1], room, k.device)
    if sequences is not None:
        refuse_sequences(sequences, q, room)
    elif block_tables is not None:
        raise ValueError("block_tables needs sequences beside it: how many keys each entry has")
    elif after == 0 and q.shape[2] > k.shape[2]:
        raise ValueError(f"q_len {q.shape[2]}: causal attention takes at most {k.shape[2]} here")
    done = attend(
        *(q, k, v, slopes, scale, Reach(before, after)),
        sequences=sequences,
        norms=norms,
        block_tables=block_tables,
        wants_log_sum_exp=wants_log_sum_exp,
        spare_room=spare_room,
    )
    if wants_log_sum_exp:
        return done.out, done.log_sum_exp
    return done.out, q.new_empty(0, dtype=torch.float32)  # no operator's results may share memory


def _fake(
    q: Tensor,
    k: Tensor,  # noqa: ARG001
    v: Tensor,
    slopes: Tensor,  # noqa: ARG001
    scale: float,  # noqa: ARG001
    before: int,  # noqa: ARG001
    after: int,  # noqa: ARG001
    sequences: Tensor | None,  # noqa: ARG001
    norms: Tensor | None,  # noqa: ARG001
    block_tables: Tensor | None,  # noqa: ARG001
    wants_log_sum_exp: bool,
) -> tuple[Tensor, Tensor]:
    wanted = q.shape[:3] if wants_log_sum_exp else (0,)
    return out_like(q, v.shape[3]), q.new_empty(wanted, dtype=torch.float32)

"""Calls of the C++ kernel for plain tensors, with what is kept from call to call.

A call over blocks of queries keeps the memory of packed keys and values. A step of decode keeps the
structure that the kernel is called with, because a step can be shorter than making it.
"""

import ctypes
from struct import Struct
from typing import Protocol

import torch
from torch import Tensor

from variants.batches.cache_norms import refuse_norms
from variants.batches.runs import runs_of
from variants.batches.sequences import GeneralAttention, Sequences
from variants.native.call_checks import fits, refuse_sequences
from variants.native.kernel_arguments import NOTHING, Reach, dense_runs, structure
from variants.native.kernel_call import attend, few_queries_kernel, out_like
from variants.native.kernel_library import FEW_QUERIES, CallStructure
from variants.native.torch_operator import checked_attend
from variants.problem import Attention, Spec

_POINTERS = Struct("=10Q")

_Layout = tuple[tuple[int, ...] | int, ...]


class _Step(Protocol):
    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        slopes: Tensor,
        norms: Tensor = NOTHING,
        sequences: Tensor | None = None,
    ) -> Tensor: ...


def dense_call(spec: Spec, reach: Reach) -> Attention:
    """Return attention of a spec, for tensors of its shapes and dtype."""
    if spec.q_len <= FEW_QUERIES:
        return _step(spec, reach)
    spare_room: list[Tensor] = []

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return attend(q, k, v, slopes, spec.scale, reach, spare_room=spare_room).out

    return attention


def general_call(spec: Spec, reach: Reach) -> GeneralAttention:
    """Return attention for batches of any form, which raises ValueError for shapes that misfit."""
    spare_room: list[Tensor] = []
    has_steps = spec.q_len <= FEW_QUERIES and not spec.extras.return_lse
    step = _step(spec, reach) if has_steps else None

    def attention(
        q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Sequences
    ) -> tuple[Tensor, Tensor]:
        runs, norms, tables = runs_of(spec, sequences), sequences.norms, sequences.block_tables
        is_rectangle = runs is None or sequences.kv_lens is not None  # each entry has all queries
        if step is not None and is_rectangle and tables is None and fits(spec, q, k, v, slopes):
            if runs is not None:
                refuse_sequences(runs, q, spec.kv_len)
            if norms is None:
                norms = NOTHING
            else:
                refuse_norms(norms, spec.batch, spec.kv_heads, spec.kv_len, k.device)
            return step(q, k, v, slopes, norms, runs), q.new_empty(0, dtype=torch.float32)
        inputs = (q, k, v, slopes, spec.scale, *reach, runs, norms, tables, spec.extras.return_lse)
        return checked_attend(*inputs, spare_room=spare_room)

    return attention


def _step(spec: Spec, reach: Reach) -> _Step:
    """Return attention that keeps a call's structure while strides and threads stay the same.

    `sequences` has a line for each batch entry, with all its queries (variants.batches.runs).
    """
    dense = dense_runs(spec.batch, spec.q_len, spec.kv_len)
    last: tuple[_Layout | None, bytes] = (None, b"")

    def attention(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        slopes: Tensor,
        norms: Tensor = NOTHING,
        sequences: Tensor | None = None,
    ) -> Tensor:
        nonlocal last
        address = dense.address if sequences is None else sequences.data_ptr()
        strides = (q.stride(), k.stride(), v.stride(), slopes.stride(), norms.stride())
        layout = (*strides, torch.get_num_threads())
        last_layout, after_pointers = last  # read once, because other threads write it
        out = out_like(q, spec.head_dim)
        tensors = (q, k, v, slopes, out, NOTHING, NOTHING)
        if layout == last_layout:
            addresses = (*map(Tensor.data_ptr, tensors), address, norms.data_ptr(), 0)
            call = CallStructure.from_buffer_copy(_POINTERS.pack(*addresses) + after_pointers)
        elif all(each[-1] == 1 for each in strides):
            runs = dense._replace(address=address)
            call = structure(tensors, runs, 0, reach, spec.scale, q.dtype, norms)
            last = layout, bytes(call)[_POINTERS.size :]
        else:
            given_norms = None if norms is NOTHING else norms
            inputs = (q, k, v, slopes, spec.scale, reach)
            return attend(*inputs, sequences=sequences, norms=given_norms).out
        few_queries_kernel(q.dtype)(ctypes.byref(call))
        return out

    return attention

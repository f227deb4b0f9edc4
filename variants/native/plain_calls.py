"""Calls of the C++ kernel for plain tensors, with what is kept from call to call.

A call over blocks of queries keeps the memory of packed keys and values. A step of decode keeps the
structure that the kernel is called with, because a step can be shorter than making it.
"""

import ctypes
from struct import Struct

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


def dense_call(spec: Spec, reach: Reach) -> Attention:
    """Return attention of a spec, for tensors of its shapes and dtype."""
    if spec.q_len <= FEW_QUERIES:
        return _Step(spec, reach)
    spare_room: list[Tensor] = []

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return attend(q, k, v, slopes, spec.scale, reach, spare_room=spare_room).out

    return attention


def general_call(spec: Spec, reach: Reach) -> GeneralAttention:
    """Return attention for batches of any form, which raises ValueError for shapes that misfit."""
    spare_room: list[Tensor] = []
    has_steps = spec.q_len <= FEW_QUERIES and not spec.extras.return_lse
    step = _Step(spec, reach) if has_steps else None

    def attention(
        q: Tensor, k: Tensor, v: Tensor, slopes: Tensor, sequences: Sequences
    ) -> tuple[Tensor, Tensor]:
        runs, norms, tables = runs_of(spec, sequences), sequences.norms, sequences.block_tables
        is_rectangle = runs is None or sequences.kv_lens is not None  # each entry has all queries
        if step is not None and is_rectangle and tables is None and fits(spec, q, k, v, slopes):
            if runs is not None:
                refuse_sequences(runs, q, spec.kv_len)
            if norms is not None:
                refuse_norms(norms, spec.batch, spec.kv_heads, spec.kv_len, k.device)
            return step(q, k, v, slopes, norms, runs), q.new_empty(0, dtype=torch.float32)
        inputs = (q, k, v, slopes, spec.scale, *reach, runs, norms, tables, spec.extras.return_lse)
        return checked_attend(*inputs, spare_room=spare_room)

    return attention


class _Step:
    """Attention that keeps a call's structure while strides and threads stay the same."""

    def __init__(self, spec: Spec, reach: Reach) -> None:
        self._spec, self._reach = spec, reach
        self._runs = dense_runs(spec.batch, spec.q_len, spec.kv_len)
        self._last: tuple[_Layout | None, bytes] = (None, b"")

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        slopes: Tensor,
        norms: Tensor | None = None,
        sequences: Tensor | None = None,
    ) -> Tensor:
        """Return the attention of q to k and v, tensors of the spec's shapes and dtype.

        `sequences` has a line for each batch entry, with all its queries (variants.batches.runs).
        """
        of_norms = NOTHING if norms is None else norms
        strides = (q.stride(), k.stride(), v.stride(), slopes.stride(), of_norms.stride())
        layout = (*strides, torch.get_num_threads())  # q's strides decide the output's
        last_layout, after_pointers = self._last  # read once, because other threads write it
        address = self._runs.address if sequences is None else sequences.data_ptr()
        out = out_like(q, self._spec.head_dim)
        tensors = (q, k, v, slopes, out, NOTHING, NOTHING)
        if layout == last_layout:
            addresses = (*map(Tensor.data_ptr, tensors), address, of_norms.data_ptr(), 0)
            call = CallStructure.from_buffer_copy(_POINTERS.pack(*addresses) + after_pointers)
        elif all(each[-1] == 1 for each in strides):
            runs = self._runs._replace(address=address)
            call = structure(tensors, runs, 0, self._reach, self._spec.scale, q.dtype, of_norms)
            self._last = layout, bytes(call)[_POINTERS.size :]
        else:
            inputs = (q, k, v, slopes, self._spec.scale, self._reach)
            return attend(*inputs, sequences=sequences, norms=norms).out
        few_queries_kernel(q.dtype)(ctypes.byref(call))
        return out

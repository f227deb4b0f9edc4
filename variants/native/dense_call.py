"""Calls of the C++ kernel for a dense batch, with what it keeps from call to call.

A call over blocks of queries keeps the memory of packed keys and values. A step of decode keeps the
structure that the kernel is called with, because a step can be shorter than making it.
"""

import ctypes
from struct import Struct

import torch
from torch import Tensor

from variants.native.kernel_arguments import NOTHING, Reach, dense_runs, structure
from variants.native.kernel_call import attend, few_queries_kernel, out_like
from variants.native.kernel_library import FEW_QUERIES, CallStructure
from variants.problem import Attention, Spec

_POINTERS = Struct("=10Q")

_Layout = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], int]


def dense_call(spec: Spec, reach: Reach) -> Attention:
    """Return attention of a spec, for tensors of its shapes and dtype."""
    return _few_queries(spec, reach) if spec.q_len <= FEW_QUERIES else _blocks(spec, reach)


def _blocks(spec: Spec, reach: Reach) -> Attention:
    spare_room: list[Tensor] = []

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        return attend(q, k, v, slopes, spec.scale, reach, spare_room=spare_room).out

    return attention


def _few_queries(spec: Spec, reach: Reach) -> Attention:
    """Return attention that keeps a call's structure while strides and threads stay the same."""
    runs = dense_runs(spec.batch, spec.q_len, spec.kv_len)
    last: tuple[_Layout | None, bytes] = (None, b"")

    def attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
        nonlocal last
        strides = (q.stride(), k.stride(), v.stride(), slopes.stride())
        layout = (*strides, torch.get_num_threads())
        last_layout, after_pointers = last  # read once, because other threads write it
        out = out_like(q, spec.head_dim)
        if layout == last_layout:
            addresses = (*map(Tensor.data_ptr, (q, k, v, slopes, out)), 0, 0, runs.address, 0, 0)
            call = CallStructure.from_buffer_copy(_POINTERS.pack(*addresses) + after_pointers)
        elif all(each[-1] == 1 for each in strides):
            tensors = (q, k, v, slopes, out, NOTHING, NOTHING)
            call = structure(tensors, runs, 0, reach, spec.scale, q.dtype)
            last = layout, bytes(call)[_POINTERS.size :]
        else:
            return attend(q, k, v, slopes, spec.scale, reach).out
        few_queries_kernel(q.dtype)(ctypes.byref(call))
        return out

    return attention

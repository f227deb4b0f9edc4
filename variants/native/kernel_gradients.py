"""One backward call of the C++ kernel, and the memory that Python allocates for it."""

import ctypes
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from variants.native.kernel_arguments import NOTHING, Reach, rows_of, runs_of, structure
from variants.native.kernel_library import CHUNK, BackwardStructure, library


class Gradients(NamedTuple):
    """What a backward call computed: gradients of the shapes and dtypes of their tensors.

    `looked_at` is the number of pairs of a query and a key.
    """

    d_q: Tensor
    d_k: Tensor
    d_v: Tensor
    d_slopes: Tensor
    looked_at: int


def gradients(
    d_out: Tensor,
    d_log_sum_exp: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slopes: Tensor,
    out: Tensor,
    log_sum_exp: Tensor,
    scale: float,
    reach: Reach,
    *,
    sequences: Tensor | None = None,
) -> Gradients:
    """Return the gradients of a call of variants.native.kernel_call.attend, which gave `out`.

    d_out is [batch, heads, q_len, value_dim], as `out`; d_log_sum_exp is as `log_sum_exp`, [batch,
    heads, q_len] float32. No two of `sequences` share queries or keys. All is computed in float32.
    Reads whatever the arguments say. Raises Unsupported where the kernels can't be built.
    """
    runs = runs_of(sequences, q, k)
    wide = [rows_of(part.float()) for part in (q, k, v, out, d_out)]
    q32, k32, v32, out32, d_out32 = wide
    slopes, log_sum_exp = slopes.resolve_neg().contiguous(), log_sum_exp.contiguous()
    heads = (q.shape[0], q.shape[1])
    writes_all_of_d_q = (
        sequences is None and q.shape[2] <= k.shape[2]
    )  # every query sees its own key
    fill = (torch.empty if writes_all_of_d_q else torch.zeros, torch.zeros, torch.zeros)
    parts = [
        _rows(make, *heads, *part.shape[2:]) for make, part in zip(fill, (q, k, v), strict=True)
    ]
    d_slopes = torch.zeros(len(runs.keys), q.shape[1], dtype=torch.float32)
    tensors = (q32, k32, v32, slopes, out32, log_sum_exp, NOTHING)
    call = BackwardStructure(structure(tensors, runs, 0, reach, scale, q.dtype))
    if d_log_sum_exp is not None:
        d_log_sum_exp = d_log_sum_exp.contiguous()
        call.d_log_sum_exp = d_log_sum_exp.data_ptr()
    call.pointers[:] = [part.data_ptr() for part in (*parts, d_slopes)]
    call.d_out, call.d_out_strides[:] = d_out32.data_ptr(), d_out32.stride()[:3]
    call.kv_len = k.shape[2]
    library().gradients_in_float32(ctypes.byref(call))
    d_q, d_k, d_v = (_of_heads(part, like) for part, like in zip(parts, (q, k, v), strict=True))
    return Gradients(d_q, d_k, d_v, _by_batch(d_slopes, slopes, sequences), call.call.looked_at)


def _rows(make: Callable[..., Tensor], batch: int, heads: int, length: int, dim: int) -> Tensor:
    """Return memory for the gradient of each query head, with rows as long as whole chunks."""
    return make(batch, heads, length, -(-dim // CHUNK) * CHUNK, dtype=torch.float32)


def _of_heads(gradient: Tensor, like: Tensor) -> Tensor:
    """Return a gradient of each query head as one of each head of `like`, contiguous."""
    heads, dim = like.shape[1], like.shape[3]
    if gradient.shape[1] != heads:
        first, *others = gradient.unflatten(1, (heads, -1)).unbind(2)
        gradient = first.clone()
        for other in others:  # one after another: torch.sum's order depends on the threads
            gradient += other
    return gradient[..., :dim].to(like.dtype).contiguous()


def _by_batch(d_slopes: Tensor, slopes: Tensor, sequences: Tensor | None) -> Tensor:
    """Return the gradient of the slopes from that of each sequence, [sequences, heads]."""
    if slopes.dim() == 1:
        return d_slopes.sum(dim=0)
    if sequences is None:
        return d_slopes
    return torch.zeros_like(slopes).index_add_(0, sequences[:, 0], d_slopes)

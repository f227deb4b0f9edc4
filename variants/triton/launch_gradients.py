"""One launch of the backward, and the memory that Python allocates for it."""

from typing import NamedTuple

import torch
from torch import Tensor

from variants.norms import BLOCK
from variants.triton.kernel.key_gradients import key_gradients_kernel
from variants.triton.kernel.query_figures import FIGURES, query_figures_kernel
from variants.triton.kernel.query_gradients import query_gradients_kernel
from variants.triton.launch import (
    block_norms,
    constants,
    log2_share,
    order_of_heads,
    programs_of,
    stride_of_slopes,
    strides_of,
    with_whole_rows,
)
from variants.triton.tiles import TileTable, padded_width
from variants.triton.tuning.table_file import table_for

_SHARE = 0.25  # of what a forward may leave out: a row of a gradient is a sum of more


class LaunchedGradients(NamedTuple):
    """Gradients of the shapes and dtypes of their tensors.

    `visited_queries` is [kv_heads, programs, heads of a kv head, 2] and `visited_keys` [heads,
    programs, 2], int32: the tiles before a program's own ones, and after them.
    """

    d_q: Tensor
    d_k: Tensor
    d_v: Tensor
    d_slopes: Tensor
    visited_queries: Tensor
    visited_keys: Tensor


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
    *,
    causal: bool,
    runs: Tensor | None = None,
    wants_slopes: bool = True,
    tiles: TileTable | None = None,
) -> LaunchedGradients:
    """Return the gradients of a call of variants.triton.launch.attend, which gave `out`.

    d_out is [batch, heads, q_len, head_dim], as `out`; d_log_sum_exp is as `log_sum_exp`, [batch,
    heads, q_len] float32. No two of `runs` share queries or keys. The slopes' gradient is 0 where
    it is not wanted.
    """
    q, k, v, out, d_out = (with_whole_rows(part) for part in (q, k, v, out, d_out))
    slopes = slopes.contiguous()
    tiles = tiles or table_for(q.device, q.shape[3], q.dtype)
    deltas, log2_sums, figures = _figures(q, out, d_out, log_sum_exp, d_log_sum_exp, slopes)
    make = torch.empty if runs is None else torch.zeros
    d_q, d_k, d_v = (make(part.shape, dtype=part.dtype, device=q.device) for part in (q, k, v))
    common = {"CAUSAL": causal, "RAGGED": runs is not None, "WIDE": q.dtype == torch.float16}
    batch, heads, kv_heads = q.shape[0], q.shape[1], k.shape[1]
    numbers = (
        *(*strides_of(q, k, v, d_out), stride_of_slopes(slopes)),
        *(scale, log2_share(q.dtype, causal=causal, factor=_SHARE)),
        *(batch, heads, kv_heads, q.shape[2], k.shape[2]),
    )

    by_key = programs_of(runs, k, tiles.key_gradients.keys, of_keys=True)
    group = heads // kv_heads
    visited_queries = _counts(kv_heads, by_key.slots, group, 2, device=q.device)
    key_gradients_kernel[(kv_heads * by_key.slots,)](
        *(q, k, v, d_out, d_k, d_v, log2_sums, deltas, slopes, figures),
        *(by_key.runs, by_key.work, visited_queries, *numbers, figures.shape[3], by_key.slots),
        **common,
        **constants(q, tiles.key_gradients),
    )
    by_query = programs_of(runs, q, tiles.query_gradients.rows, of_keys=False)
    visited_keys = _counts(heads, by_query.slots, 2, device=q.device)
    d_slopes = torch.zeros(heads, by_query.slots, dtype=torch.float32, device=q.device)
    norms = block_norms(k, v)
    query_gradients_kernel[(heads * by_query.slots,)](
        *(q, k, v, d_out, d_q, log2_sums, deltas, slopes, order_of_heads(slopes), norms, d_slopes),
        *(by_query.runs, by_query.work, visited_keys, *numbers, norms.shape[3], by_query.slots),
        SLOPES=wants_slopes,
        **common,
        **constants(q, tiles.query_gradients),
    )
    of_slopes = _of_slopes(d_slopes, slopes, runs, by_query.work)
    return LaunchedGradients(d_q, d_k, d_v, of_slopes, visited_queries, visited_keys)


def _figures(
    q: Tensor,
    out: Tensor,
    d_out: Tensor,
    log_sum_exp: Tensor,
    d_log_sum_exp: Tensor | None,
    slopes: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return delta, the log-sum-exp in powers of 2, and figures of blocks of queries."""
    batch, heads, q_len, head_dim = q.shape
    blocks = -(-q_len // BLOCK)
    deltas, log2_sums = torch.empty_like(log_sum_exp), torch.empty_like(log_sum_exp)
    figures = log_sum_exp.new_empty(batch, heads, FIGURES.value, blocks)
    has_d_lse = d_log_sum_exp is not None
    query_figures_kernel[(blocks, batch * heads)](
        *(q, out, d_out, log_sum_exp.contiguous()),
        log_sum_exp if d_log_sum_exp is None else d_log_sum_exp.float().contiguous(),
        *(slopes, deltas, log2_sums, figures, *strides_of(q, out, d_out)),
        *(stride_of_slopes(slopes), heads, q_len, blocks),
        HEAD_DIM=head_dim,
        DIM=padded_width(head_dim),
        HAS_D_LSE=has_d_lse,
    )
    return deltas, log2_sums, figures


def _counts(*shape: int, device: torch.device) -> Tensor:
    return torch.zeros(shape, dtype=torch.int32, device=device)


def _of_slopes(parts: Tensor, slopes: Tensor, runs: Tensor | None, work: Tensor) -> Tensor:
    """Return the gradient of the slopes from that of each program, [heads, slots]."""
    if slopes.dim() == 1:
        return parts.sum(dim=1)
    batch, heads = slopes.shape
    if runs is None:
        return parts.view(heads, batch, -1).sum(dim=2).T.contiguous()
    of_slot = runs[:, 0].long()[work[:, 0].clamp(min=0).long()]
    return torch.zeros_like(slopes).index_add_(0, of_slot, parts.T.contiguous())

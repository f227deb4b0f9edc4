"""What both kernels of the gradients know of queries beforehand; and what gradients are.

    p = 2^(score - lse)            dv = sum of p dout          dp = dout·v
    ds = p (dp - delta)            dk = sum of ds scale q      dq = sum of ds scale k
    delta = dout·out - dlse        dslope = sum of ds (-distance)

Scores and log-sum-exps are in powers of 2. In float16 p and ds would underflow for keys that are
older than all queries, so there their products are made in TF32, which has float16's digits and
float32's exponents. Nothing is added atomically. See docs/kernel.md for what is left out.
"""

import triton
import triton.language as tl

from variants.triton.kernel.bounds import BLOCK, LOG2_E, jit, norm_above
from variants.triton.kernel.inputs import tile_of

FIGURES = tl.constexpr(7)  # of a block of queries, for the bound on what they add to a key


@triton.jit
def log2_of_sum(exponents):
    """Return log2 of the sum of powers of 2; -inf where all are 0."""
    most = tl.maximum(tl.max(exponents, 0), -1e30)
    return most + tl.log2(tl.sum(tl.exp2(exponents - most), 0))


@jit
def query_figures_kernel(
    q, out, d_out, log_sum_exp, d_log_sum_exp, slopes, delta, log2_sums, figures,
    q_batch_stride, q_head_stride, q_row_stride, out_batch_stride, out_head_stride, out_row_stride,
    d_out_batch_stride, d_out_head_stride, d_out_row_stride, slopes_batch_stride,
    heads, q_len, blocks,
    HEAD_DIM: tl.constexpr, DIM: tl.constexpr, HAS_D_LSE: tl.constexpr,
):  # fmt: skip
    """Write delta and log2_sums [batch, heads, q_len], and figures [batch, heads, FIGURES, blocks].

    Figures are of blocks of BLOCK queries: the largest |q|, then log2 of three sums of
    2^(-lse - slope distance from the block's first query) g, with g = |dout|, |q| |dout| and
    |q| |delta|, then the same with the distance from the last. A row that sees no key has no part.
    """
    block, head_row = tl.program_id(0), tl.program_id(1)
    batch, head = (head_row // heads).to(tl.int64), (head_row % heads).to(tl.int64)
    slope = tl.load(slopes + batch * slopes_batch_stride + head) * LOG2_E
    local = tl.arange(0, BLOCK)
    rows = block * BLOCK + local
    is_row = rows < q_len
    first = block * BLOCK
    q += batch * q_batch_stride + head * q_head_stride
    out += batch * out_batch_stride + head * out_head_stride
    d_out += batch * d_out_batch_stride + head * d_out_head_stride
    queries = tile_of(q, first, q_len, q_row_stride, BLOCK, HEAD_DIM, DIM, True).to(tl.float32)
    outs = tile_of(out, first, q_len, out_row_stride, BLOCK, HEAD_DIM, DIM, True).to(tl.float32)
    d_outs = tile_of(d_out, first, q_len, d_out_row_stride, BLOCK, HEAD_DIM, DIM, True)
    d_outs = d_outs.to(tl.float32)
    place = head_row.to(tl.int64) * q_len + rows
    natural = tl.load(log_sum_exp + place, mask=is_row, other=-float("inf"))
    sees_none = natural == -float("inf")
    log2_sum = tl.where(sees_none, float("inf"), natural * LOG2_E)
    deltas = tl.where(sees_none, 0.0, tl.sum(outs * d_outs, 1))
    if HAS_D_LSE:
        d_lse = tl.load(d_log_sum_exp + place, mask=is_row, other=0.0)
        deltas -= tl.where(sees_none, 0.0, d_lse)
    tl.store(delta + place, deltas, mask=is_row)
    tl.store(log2_sums + place, log2_sum, mask=is_row)

    query = norm_above(tl.sum(queries * queries, 1))
    gradient = norm_above(tl.sum(d_outs * d_outs, 1))
    figures += head_row.to(tl.int64) * FIGURES * blocks + block
    tl.store(figures, tl.max(tl.where(sees_none, 0.0, query), 0))
    for side in tl.static_range(2):
        distance = local if side == 0 else BLOCK - 1 - local
        base = tl.where(sees_none, -float("inf"), -log2_sum - slope * distance.to(tl.float32))
        of_v = log2_of_sum(tl.where(sees_none, base, base + tl.log2(gradient)))
        of_k = log2_of_sum(tl.where(sees_none, base, base + tl.log2(query) + tl.log2(gradient)))
        of_delta = log2_of_sum(
            tl.where(deltas == 0, -float("inf"), base + tl.log2(query) + tl.log2(tl.abs(deltas)))
        )
        tl.store(figures + (1 + 3 * side) * blocks, of_v)
        tl.store(figures + (2 + 3 * side) * blocks, of_k)
        tl.store(figures + (3 + 3 * side) * blocks, of_delta)

"""The answer from the parts that programs of `split_kernel` have summed, and what they missed."""

import triton.language as tl

from variants.triton.kernel.bounds import LN_2, LOG2_E, LOWEST, jit
from variants.triton.kernel.split_rows import (
    add_tiles,
    own_begin,
    queries_at,
    rows_at,
    sequence_at,
    tiles_needed,
)

LARGE = tl.constexpr(4096)  # numbers of a part, which is enough to have on its way at a time


@jit
def combine_kernel(
    q, k, v, out, log_sum_exp, slopes, norms, runs, accs, totals, tops, needed, visited,
    q_batch_stride, q_head_stride, q_row_stride, k_batch_stride, k_head_stride, k_row_stride,
    v_batch_stride, v_head_stride, v_row_stride, out_batch_stride, out_head_stride, out_row_stride,
    slopes_batch_stride, scale, log2_share, heads, kv_heads, most_queries, kv_len, blocks,
    splits, q_len,
    HEAD_DIM: tl.constexpr, DIM: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
    TOGETHER: tl.constexpr, NORMS: tl.constexpr, RAGGED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write `out` and `log_sum_exp` of the rows of a program of `split_kernel`, all its splits.

    Parts are added up in their order. An output may have shrunk since the splits counted the
    tiles, so they are counted again, and what is still needed is visited here: seldom anything.
    `visited` [programs, 2] gets the number of tiles of all splits, and of those visited here.
    """
    program = tl.program_id(0)
    row_block, first_head, batch, first_query, queries, first_key, key_count, position = (
        sequence_at(program, runs, heads, most_queries, kv_len, ROWS, TOGETHER, RAGGED)
    )
    member, query, is_row, begin_query, end_query = rows_at(row_block, queries, ROWS, TOGETHER)
    if end_query <= begin_query:
        return
    acc = tl.zeros([ROWS, DIM], tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    top = tl.full([ROWS], LOWEST, tl.float32)
    dims = tl.arange(0, DIM)
    for place in tl.range(0, 1 + splits, loop_unroll_factor=1 if ROWS * DIM > LARGE else 4):
        part = (program.to(tl.int64) * (1 + splits) + place) * ROWS + tl.arange(0, ROWS)
        part_top = tl.load(tops + part)
        highest = tl.maximum(top, part_top)
        shrunk, of_part = tl.exp2(top - highest), tl.exp2(part_top - highest)
        total = total * shrunk + tl.load(totals + part) * of_part
        part_acc = tl.load(accs + part[:, None] * DIM + dims[None, :])
        acc = acc * shrunk[:, None] + part_acc * of_part[:, None]
        top = highest

    head = first_head + member
    counted = tl.load(needed + program)
    done = counted
    if NORMS:
        kv_head = first_head // (heads // kv_heads)
        k += batch.to(tl.int64) * k_batch_stride + kv_head.to(tl.int64) * k_head_stride
        v += batch.to(tl.int64) * v_batch_stride + kv_head.to(tl.int64) * v_head_stride
        if RAGGED:
            k += first_key.to(tl.int64) * k_row_stride
            v += first_key.to(tl.int64) * v_row_stride
        norms += (batch * kv_heads + kv_head).to(tl.int64) * 2 * blocks
        slopes += batch * slopes_batch_stride
        log2_scale = scale * LOG2_E
        q_rows = queries_at(
            q + batch.to(tl.int64) * q_batch_stride, head, first_query + query, is_row,
            q_head_stride, q_row_stride, HEAD_DIM, DIM,
        )  # fmt: skip
        slope = tl.load(slopes + head, mask=is_row, other=0.0) * LOG2_E
        slope_of_all = tl.load(slopes + first_head) * LOG2_E
        nearest = position + begin_query
        own = own_begin(nearest, key_count, KEYS)
        moved = 1
        while moved > 0:  # it ends with a count that finds no tile more to be needed
            need = tiles_needed(
                acc, total, top, q_rows, head, query - begin_query, is_row, slopes, norms,
                first_key, own, nearest, blocks, log2_scale, log2_share, KEYS, RAGGED,
            )  # fmt: skip
            acc, total, top = add_tiles(
                acc, total, top, q_rows, k, v, own, done, need, k_row_stride, v_row_stride,
                position + query, slope, slope_of_all, log2_scale,
                HEAD_DIM, DIM, KEYS, 1, TOGETHER, PRECISION,
            )  # fmt: skip
            moved = tl.maximum(need - done, 0)
            done += moved

    sees_none = total == 0
    acc = tl.where(sees_none[:, None], 0.0, acc / tl.where(sees_none, 1.0, total)[:, None])
    out += batch.to(tl.int64) * out_batch_stride
    rows = (first_query + query).to(tl.int64)
    places = head.to(tl.int64) * out_head_stride + rows * out_row_stride
    is_element = is_row[:, None] & (dims < HEAD_DIM)[None, :]
    tl.store(out + places[:, None] + dims[None, :], acc.to(out.dtype.element_ty), mask=is_element)
    logs = tl.where(sees_none, -float("inf"), (top + tl.log2(total)) * LN_2)
    of_row = (batch * heads + head).to(tl.int64) * q_len + rows
    tl.store(log_sum_exp + of_row, logs, mask=is_row)
    tl.store(visited + 2 * program, counted)
    tl.store(visited + 2 * program + 1, done - counted)

"""Attention whose keys are split among programs, where the queries are too few to fill a GPU.

Every program attends to a part of the keys that its rows need, and leaves what it has summed.
`combine_kernel` adds the parts up. Causal: a query sees the keys up to its own position.
"""

import triton.language as tl

from variants.triton.kernel.bounds import LOG2_E, LOWEST, jit
from variants.triton.kernel.forward import add_tile
from variants.triton.kernel.inputs import tile_of
from variants.triton.kernel.split_rows import (
    add_tiles,
    own_begin,
    queries_at,
    rows_at,
    sequence_at,
    tiles_needed,
)


@jit
def split_kernel(
    q, k, v, slopes, norms, runs, accs, totals, tops, needed,
    q_batch_stride, q_head_stride, q_row_stride, k_batch_stride, k_head_stride, k_row_stride,
    v_batch_stride, v_head_stride, v_row_stride, slopes_batch_stride, scale, log2_share,
    heads, kv_heads, most_queries, kv_len, blocks,
    HEAD_DIM: tl.constexpr, DIM: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
    STAGES: tl.constexpr, TOGETHER: tl.constexpr, NORMS: tl.constexpr, RAGGED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Attend from ROWS rows, of TOGETHER heads that share keys, to a part of these keys.

    Axis 0 has a program for each sequence, for each TOGETHER heads of it, and for each block of
    their rows; axis 1 has the splits. All splits attend to the rows' own keys, and count the tiles
    before them that are needed: all, without NORMS. The first leaves what the own keys sum to, and
    each what its part of the tiles does. `accs` [programs, 1 + splits, ROWS, DIM], `totals` and
    `tops` [programs, 1 + splits, ROWS] get the sums, and `needed` [programs] the number of tiles.
    """
    program, split, splits = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    row_block, first_head, batch, first_query, queries, first_key, key_count, position = (
        sequence_at(program, runs, heads, most_queries, kv_len, ROWS, TOGETHER, RAGGED)
    )
    member, query, is_row, begin_query, end_query = rows_at(row_block, queries, ROWS, TOGETHER)
    if end_query <= begin_query:
        return
    if RAGGED:
        k += first_key.to(tl.int64) * k_row_stride
        v += first_key.to(tl.int64) * v_row_stride
    kv_head = first_head // (heads // kv_heads)
    k += batch.to(tl.int64) * k_batch_stride + kv_head.to(tl.int64) * k_head_stride
    v += batch.to(tl.int64) * v_batch_stride + kv_head.to(tl.int64) * v_head_stride
    norms += (batch * kv_heads + kv_head).to(tl.int64) * 2 * blocks
    slopes += batch * slopes_batch_stride
    log2_scale = scale * LOG2_E

    head = first_head + member
    q_rows = queries_at(
        q + batch.to(tl.int64) * q_batch_stride, head, first_query + query, is_row, q_head_stride,
        q_row_stride, HEAD_DIM, DIM,
    )  # fmt: skip
    slope = tl.load(slopes + head, mask=is_row, other=0.0) * LOG2_E
    positions, nearest = position + query, position + begin_query
    acc = tl.zeros([ROWS, DIM], tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    top = tl.full([ROWS], LOWEST, tl.float32)

    own = own_begin(nearest, key_count, KEYS)
    no_row = tl.zeros([ROWS], tl.float32)
    for start in tl.range(own, tl.minimum(position + end_query, key_count), KEYS, num_stages=1):
        keys = tile_of(k, start, key_count, k_row_stride, KEYS, HEAD_DIM, DIM, True)
        values = tile_of(v, start, key_count, v_row_stride, KEYS, HEAD_DIM, DIM, True)
        places = start + tl.arange(0, KEYS)
        steps = places[None, :] - positions[:, None]
        is_seen = (places < key_count)[None, :] & (steps <= 0)
        bias = slope[:, None] * steps.to(tl.float32)
        acc, total, top = add_tile(
            acc, total, top, q_rows, keys, values, bias, no_row, is_seen, log2_scale,
            True, PRECISION,
        )  # fmt: skip

    part = program.to(tl.int64) * (1 + splits) * ROWS + tl.arange(0, ROWS)
    dims = tl.arange(0, DIM)
    if split == 0:
        tl.store(accs + part[:, None] * DIM + dims[None, :], acc)
        tl.store(totals + part, total)
        tl.store(tops + part, top)
    need = own // KEYS
    if NORMS:
        need = -1
        while need < 0:  # once: for sm_100 triton 3.6 compiles sums over `acc` in a loop alone
            need = tiles_needed(
                acc, total, top, q_rows, head, query - begin_query, is_row, slopes, norms,
                first_key, own, nearest, blocks, log2_scale, log2_share, KEYS, RAGGED,
            )  # fmt: skip
            acc = tl.zeros([ROWS, DIM], tl.float32)
    if split == 0:
        tl.store(needed + program, need)

    share = tl.cdiv(need, splits)
    begin = tl.minimum(split * share, need)
    acc = tl.zeros([ROWS, DIM], tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    top = tl.full([ROWS], LOWEST, tl.float32)
    acc, total, top = add_tiles(
        acc, total, top, q_rows, k, v, own, begin, tl.minimum(begin + share, need), k_row_stride,
        v_row_stride, positions, slope, tl.load(slopes + first_head) * LOG2_E, log2_scale,
        HEAD_DIM, DIM, KEYS, STAGES, TOGETHER, PRECISION,
    )  # fmt: skip
    part += (1 + split) * ROWS
    tl.store(accs + part[:, None] * DIM + dims[None, :], acc)
    tl.store(totals + part, total)
    tl.store(tops + part, top)

"""dk and dv: what blocks of queries add to some keys (query_figures.py says what gradients are)."""

import triton
import triton.language as tl

from variants.triton.kernel.bounds import (
    AT_ONCE,
    BLOCK,
    LOG2_E,
    MOST,
    jit,
    norm_above,
    power_or_none,
    with_digits,
)
from variants.triton.kernel.forward import AT_FIRST, least_of
from variants.triton.kernel.inputs import run_at, tile_of
from variants.triton.kernel.query_figures import FIGURES


@triton.jit
def count_droppable_queries(
    figures, side, farthest_block, step, count, farthest_distance, blocks, key_norm, value_norm,
    slope, least_dk, least_dv,
):  # fmt: skip
    """Return how many of `count` blocks of queries can be left out together, the farthest first.

    They are met in the order of `count_droppable`, and `distance` is to the nearest of the keys;
    `key_norm` is the longest key times |scale| log2(e). `least_dk` and `least_dv` are log2 of what
    they may add to the gradients of a key, seen from the nearest one.
    """
    dropped = 0
    sum_dk, sum_dv = 0.0, 0.0
    for begin in range(0, count, AT_ONCE):
        turn = begin + tl.arange(0, AT_ONCE)
        inside = turn < count
        place = figures + farthest_block + step * turn
        query = tl.load(place, mask=inside, other=0.0)
        place += (1 + 3 * side) * blocks
        of_v = tl.load(place, mask=inside, other=0.0)
        of_k = tl.load(place + blocks, mask=inside, other=0.0)
        of_delta = tl.load(place + 2 * blocks, mask=inside, other=0.0)
        distance = (farthest_distance - BLOCK * turn).to(tl.float32)
        score = query * key_norm
        nearest = tl.where(score <= MOST, score - slope * distance, float("inf"))
        added_dv = power_or_none(nearest + with_digits(of_v), least_dv)
        added_dk = power_or_none(nearest + with_digits(of_k) + tl.log2(value_norm), least_dk)
        added_dk += power_or_none(nearest + with_digits(of_delta), least_dk)
        added_dv = tl.where(inside, added_dv, float("inf"))
        added_dk = tl.where(inside, added_dk, 0.0)
        fits = (tl.cumsum(added_dv, 0) + sum_dv <= 1.0) & (tl.cumsum(added_dk, 0) + sum_dk <= 1.0)
        dropped += tl.sum(fits.to(tl.int32), 0)
        sum_dv += tl.sum(added_dv, 0)
        sum_dk += tl.sum(added_dk, 0)
    return dropped


@triton.jit
def add_queries(
    dk, dv, keys, values, q, d_out, log2_sums, deltas, first, begin, end, q_row_stride,
    d_out_row_stride, offset, key_positions, is_key, slope, log2_scale,
    HEAD_DIM: tl.constexpr, DIM: tl.constexpr, ROWS: tl.constexpr, CAUSAL: tl.constexpr,
    MASKED: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add what ROWS queries from row `first` on give to dk and dv, if in `begin` to `end`."""
    rows = first + tl.arange(0, ROWS)
    if MASKED:
        is_row = (rows >= begin) & (rows < end)
        queries = tile_of(q, first, end, q_row_stride, ROWS, HEAD_DIM, DIM, True)
        gradients = tile_of(d_out, first, end, d_out_row_stride, ROWS, HEAD_DIM, DIM, True)
        queries = tl.where((rows >= begin)[:, None], queries, 0.0)
        gradients = tl.where((rows >= begin)[:, None], gradients, 0.0)
        log2_sum = tl.load(log2_sums + rows, mask=is_row, other=float("inf"))
        delta = tl.load(deltas + rows, mask=is_row, other=0.0)
    else:
        queries = tile_of(q, first, end, q_row_stride, ROWS, HEAD_DIM, DIM, False)
        gradients = tile_of(d_out, first, end, d_out_row_stride, ROWS, HEAD_DIM, DIM, False)
        log2_sum = tl.load(log2_sums + rows)
        delta = tl.load(deltas + rows)
    steps = key_positions[:, None] - (rows + offset)[None, :]
    scores = tl.dot(keys, tl.trans(queries), input_precision=PRECISION) * log2_scale
    scores -= slope * tl.abs(steps).to(tl.float32) + log2_sum[None, :]
    if MASKED:
        is_seen = is_row[None, :] & is_key[:, None]
        if CAUSAL:
            is_seen = is_seen & (steps <= 0)
        scores = tl.where(is_seen, scores, -float("inf"))
    p = tl.exp2(scores)
    dp = tl.dot(values, tl.trans(gradients), input_precision=PRECISION)
    ds = p * (dp - delta[None, :])
    if WIDE:
        dv = tl.dot(p, gradients.to(tl.float32), dv, input_precision=PRECISION)
        dk = tl.dot(ds, queries.to(tl.float32), dk, input_precision=PRECISION)
    else:
        dv = tl.dot(p.to(gradients.dtype), gradients, dv, input_precision=PRECISION)
        dk = tl.dot(ds.to(queries.dtype), queries, dk, input_precision=PRECISION)
    return dk, dv


@jit
def key_gradients_kernel(
    q, k, v, d_out, d_k, d_v, log2_sums, deltas, slopes, figures, runs, work, visited,
    q_batch_stride, q_head_stride, q_row_stride, k_batch_stride, k_head_stride, k_row_stride,
    v_batch_stride, v_head_stride, v_row_stride,
    d_out_batch_stride, d_out_head_stride, d_out_row_stride, slopes_batch_stride,
    scale, log2_share, batches, heads, kv_heads, q_len, kv_len, blocks, slots,
    HEAD_DIM: tl.constexpr, DIM: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
    STAGES: tl.constexpr, CAUSAL: tl.constexpr, RAGGED: tl.constexpr, WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Write dk and dv of KEYS keys of a kv head: contiguous, [batch, kv_heads, kv_len, HEAD_DIM].

    `slots` and `work` are as in the forward, for blocks of keys. `blocks` are of queries. `visited`
    [kv_heads, slots, heads of a kv head, 2] gets the tiles before the own ones, and after them.
    """
    kv_head = tl.program_id(0) // slots
    slot = tl.program_id(0) % slots
    if RAGGED:
        run = tl.load(work + 2 * slot)
        if run < 0:
            return
        key_block = tl.load(work + 2 * slot + 1)
        batch, first_query, queries, first_key, key_count, position = run_at(runs, run)
    else:
        key_blocks = slots // batches
        batch, key_block = slot // key_blocks, slot % key_blocks
        first_query, queries, first_key, key_count = 0, q_len, 0, kv_len
        position = kv_len - q_len
    group = heads // kv_heads
    local = tl.arange(0, KEYS)
    dims = tl.arange(0, DIM)
    first = key_block * KEYS
    key_positions = first + local
    is_key = key_positions < key_count
    last = tl.minimum(first + KEYS, key_count) - 1
    k += batch.to(tl.int64) * k_batch_stride + kv_head.to(tl.int64) * k_head_stride
    v += batch.to(tl.int64) * v_batch_stride + kv_head.to(tl.int64) * v_head_stride
    begin_row, end_row = first_key + first, first_key + key_count
    keys = tile_of(k, begin_row, end_row, k_row_stride, KEYS, HEAD_DIM, DIM, True)
    values = tile_of(v, begin_row, end_row, v_row_stride, KEYS, HEAD_DIM, DIM, True)
    log2_scale = scale * LOG2_E
    wide = keys.to(tl.float32)
    key_norm = norm_above(tl.max(tl.sum(wide * wide, 1), 0)) * tl.abs(log2_scale)
    wide = values.to(tl.float32)
    value_norm = norm_above(tl.max(tl.sum(wide * wide, 1), 0))
    dk = tl.zeros([KEYS, DIM], tl.float32)
    dv = tl.zeros([KEYS, DIM], tl.float32)

    # Rows are counted in the tensor. A query in row t stands at position t + offset.
    offset = position - first_query
    end = first_query + queries
    nearest = tl.minimum(tl.maximum(first - offset, first_query), end)
    own = nearest // ROWS * ROWS
    own_end = tl.minimum(tl.maximum(last + 1 - offset, first_query), end)
    after = own + tl.cdiv(tl.maximum(own_end - own, 0), ROWS) * ROWS
    if own_end <= nearest:
        after = own
    near_block, far_block = tl.cdiv(after, BLOCK), tl.cdiv(end, BLOCK)
    first_block = first_query // BLOCK
    for member in range(0, group):
        head = kv_head * group + member
        slope = tl.load(slopes + batch * slopes_batch_stride + head) * LOG2_E
        head_row = (batch * heads + head).to(tl.int64)
        q_rows = q + batch.to(tl.int64) * q_batch_stride + head.to(tl.int64) * q_head_stride
        d_out_rows = d_out + batch.to(tl.int64) * d_out_batch_stride
        d_out_rows += head.to(tl.int64) * d_out_head_stride
        sums, delta = log2_sums + head_row * q_len, deltas + head_row * q_len
        of_head = figures + head_row * FIGURES * blocks
        for row in tl.range(own, after, ROWS, num_stages=1):
            dk, dv = add_queries(
                dk, dv, keys, values, q_rows, d_out_rows, sums, delta, row, first_query, end,
                q_row_stride, d_out_row_stride, offset, key_positions, is_key, slope, log2_scale,
                HEAD_DIM, DIM, ROWS, CAUSAL, True, WIDE, PRECISION,
            )  # fmt: skip
        done_before, done_after, most, moved = 0, 0, tl.maximum(AT_FIRST // ROWS, 1), 1
        while moved > 0:
            size_dk = log2_share + 0.5 * tl.log2(tl.sum(dk * dk, 1))
            size_dv = log2_share + 0.5 * tl.log2(tl.sum(dv * dv, 1))
            farther = slope * (last - key_positions).to(tl.float32)
            dropped = count_droppable_queries(
                of_head, 0, far_block - 1, -1, tl.maximum(far_block - near_block, 0),
                (far_block - 1) * BLOCK + offset - last, blocks, key_norm, value_norm, slope,
                least_of(size_dk + farther, is_key), least_of(size_dv + farther, is_key),
            )  # fmt: skip
            need = tl.cdiv(
                tl.maximum(tl.minimum((far_block - dropped) * BLOCK, end) - after, 0), ROWS
            )
            end_after = tl.minimum(need, most)
            whole = tl.minimum(end_after, tl.maximum(end - after, 0) // ROWS)
            if RAGGED:
                # The first tile may begin with rows of the sequence before.
                whole = tl.where(after < first_query, 0, whole)
            for tile in tl.range(done_after, whole, num_stages=STAGES):
                dk, dv = add_queries(
                    dk, dv, keys, values, q_rows, d_out_rows, sums, delta, after + tile * ROWS,
                    first_query, end, q_row_stride, d_out_row_stride, offset, key_positions,
                    is_key, slope, log2_scale,
                    HEAD_DIM, DIM, ROWS, CAUSAL, False, WIDE, PRECISION,
                )  # fmt: skip
            for tile in tl.range(tl.maximum(done_after, whole), end_after, num_stages=1):
                dk, dv = add_queries(
                    dk, dv, keys, values, q_rows, d_out_rows, sums, delta, after + tile * ROWS,
                    first_query, end, q_row_stride, d_out_row_stride, offset, key_positions,
                    is_key, slope, log2_scale,
                    HEAD_DIM, DIM, ROWS, CAUSAL, True, WIDE, PRECISION,
                )  # fmt: skip
            moved = tl.maximum(end_after - done_after, 0)
            done_after += moved
            if not CAUSAL:
                nearer = slope * (key_positions - first).to(tl.float32)
                dropped = count_droppable_queries(
                    of_head, 1, first_block, 1, tl.maximum(own // BLOCK - first_block, 0),
                    first - (first_block * BLOCK + BLOCK - 1 + offset), blocks, key_norm,
                    value_norm, slope,
                    least_of(size_dk + nearer, is_key), least_of(size_dv + nearer, is_key),
                )  # fmt: skip
                begin = tl.maximum((first_block + dropped) * BLOCK, first_query)
                need = tl.cdiv(tl.maximum(own - begin, 0), ROWS)
                end_before = tl.minimum(need, most)
                for tile in tl.range(done_before, end_before, num_stages=STAGES):
                    dk, dv = add_queries(
                        dk, dv, keys, values, q_rows, d_out_rows, sums, delta,
                        own - (tile + 1) * ROWS,
                        first_query, end, q_row_stride, d_out_row_stride, offset, key_positions,
                        is_key, slope, log2_scale,
                        HEAD_DIM, DIM, ROWS, CAUSAL, RAGGED, WIDE, PRECISION,
                    )  # fmt: skip
                moved_before = tl.maximum(end_before - done_before, 0)
                done_before += moved_before
                moved += moved_before
            most = 1 << 30
        counts = visited + 2 * ((kv_head.to(tl.int64) * slots + slot) * group + member)
        tl.store(counts, done_before)
        tl.store(counts + 1, done_after)

    places = (batch * kv_heads + kv_head).to(tl.int64) * kv_len + first_key + key_positions
    places = places[:, None] * HEAD_DIM + dims[None, :]
    inside = is_key[:, None] & (dims < HEAD_DIM)[None, :]
    tl.store(d_k + places, (dk * scale).to(d_k.dtype.element_ty), mask=inside)
    tl.store(d_v + places, dv.to(d_v.dtype.element_ty), mask=inside)

"""dq and the slope's gradient: what blocks of keys add to some queries (query_figures.py)."""

import triton
import triton.language as tl

from variants.triton.kernel.bounds import (
    AT_ONCE,
    BLOCK,
    LOG2_E,
    bounds_of_blocks,
    jit,
    log2_sum_of_block,
    norm_above,
    power_or_none,
    with_digits,
)
from variants.triton.kernel.forward import AT_FIRST
from variants.triton.kernel.inputs import run_at, tile_of


@triton.jit
def count_droppable_keys(
    norms, first_slot, farthest_block, step, count, farthest_distance, blocks, query_norm, slope,
    log2_share, of_gradient, of_delta, RAGGED: tl.constexpr,
):  # fmt: skip
    """Return how many of `count` blocks of keys dq can do without together, the farthest first.

    As in `count_droppable`. `of_gradient` and `of_delta` are log2 of the largest
    2^(-lse - slope offset) |dout| / |dq| and 2^(-lse - slope offset) |delta| / |dq| of a row.
    """
    zeros = log2_sum_of_block(slope)
    dropped = 0
    summed = 0.0
    for begin in range(0, count, AT_ONCE):
        inside, key, value, nearest = bounds_of_blocks(
            norms, first_slot, farthest_block, step, begin, count, farthest_distance, blocks,
            query_norm, slope, RAGGED,
        )  # fmt: skip
        weight = nearest + zeros + tl.log2(key)
        added = power_or_none(weight + tl.log2(value) + of_gradient, log2_share)
        added += power_or_none(weight + of_delta, log2_share)
        added = tl.where(inside, added, float("inf"))
        dropped += tl.sum((tl.cumsum(added, 0) + summed <= 1.0).to(tl.int32), 0)
        summed += tl.sum(added, 0)
    return dropped


@triton.jit
def most_of(log2_part, log2_size, is_row):
    """Return the largest part over size of the rows that have one, in log2."""
    none = (log2_part == -float("inf")) | (is_row == 0)
    return with_digits(tl.max(tl.where(none, -float("inf"), log2_part - log2_size), 0))


@triton.jit
def add_keys(
    dq, d_slope, queries, gradients, log2_sum, delta, k, v, first, end, k_row_stride, v_row_stride,
    positions, slope, log2_scale,
    HEAD_DIM: tl.constexpr, DIM: tl.constexpr, KEYS: tl.constexpr, CAUSAL: tl.constexpr,
    MASKED: tl.constexpr, WIDE: tl.constexpr, SLOPES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add what KEYS keys from `first` on give to dq, and to the slope's gradient."""
    keys = tile_of(k, first, end, k_row_stride, KEYS, HEAD_DIM, DIM, MASKED)
    values = tile_of(v, first, end, v_row_stride, KEYS, HEAD_DIM, DIM, MASKED)
    places = first + tl.arange(0, KEYS)
    steps = places[None, :] - positions[:, None]
    distance = tl.abs(steps).to(tl.float32)
    scores = tl.dot(queries, tl.trans(keys), input_precision=PRECISION) * log2_scale
    scores -= slope * distance + log2_sum[:, None]
    if MASKED:
        is_seen = (places < end)[None, :]
        if CAUSAL:
            is_seen = is_seen & (steps <= 0)
        scores = tl.where(is_seen, scores, -float("inf"))
    p = tl.exp2(scores)
    dp = tl.dot(gradients, tl.trans(values), input_precision=PRECISION)
    ds = p * (dp - delta[:, None])
    if SLOPES:
        d_slope -= tl.sum(ds * distance, 1)
    if WIDE:
        dq = tl.dot(ds, keys.to(tl.float32), dq, input_precision=PRECISION)
    else:
        dq = tl.dot(ds.to(keys.dtype), keys, dq, input_precision=PRECISION)
    return dq, d_slope


@jit
def query_gradients_kernel(
    q, k, v, d_out, d_q, log2_sums, deltas, slopes, head_order, norms, d_slopes, runs, work,
    visited,
    q_batch_stride, q_head_stride, q_row_stride, k_batch_stride, k_head_stride, k_row_stride,
    v_batch_stride, v_head_stride, v_row_stride,
    d_out_batch_stride, d_out_head_stride, d_out_row_stride, slopes_batch_stride,
    scale, log2_share, batches, heads, kv_heads, q_len, kv_len, blocks, slots,
    HEAD_DIM: tl.constexpr, DIM: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
    STAGES: tl.constexpr, CAUSAL: tl.constexpr, RAGGED: tl.constexpr, WIDE: tl.constexpr,
    SLOPES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Write dq of ROWS queries of a head: contiguous, [batch, heads, q_len, HEAD_DIM].

    Programs and `visited` are as in the forward. `d_slopes` [heads, slots] gets a program's part of
    the slope's gradient.
    """
    head = tl.load(head_order + tl.program_id(0) // slots)
    slot = tl.program_id(0) % slots
    if RAGGED:
        run = tl.load(work + 2 * slot)
        if run < 0:
            return
        row_block = tl.load(work + 2 * slot + 1)
        batch, first_query, queries, first_key, key_count, position = run_at(runs, run)
    else:
        row_blocks = slots // batches
        batch, row_block = slot // row_blocks, row_blocks - 1 - slot % row_blocks
        first_query, queries, first_key, key_count = 0, q_len, 0, kv_len
        position = kv_len - q_len
    kv_head = head // (heads // kv_heads)
    k += batch.to(tl.int64) * k_batch_stride + kv_head.to(tl.int64) * k_head_stride
    v += batch.to(tl.int64) * v_batch_stride + kv_head.to(tl.int64) * v_head_stride
    if RAGGED:
        k += first_key.to(tl.int64) * k_row_stride
        v += first_key.to(tl.int64) * v_row_stride
    norms += (batch * kv_heads + kv_head).to(tl.int64) * 2 * blocks
    slope = tl.load(slopes + batch * slopes_batch_stride + head) * LOG2_E
    log2_scale = scale * LOG2_E

    local_row, dims = tl.arange(0, ROWS), tl.arange(0, DIM)
    first_row, end_row = first_query + row_block * ROWS, first_query + queries
    rows = first_row + local_row
    is_row = rows < end_row
    nearest = position + row_block * ROWS
    last = tl.minimum(nearest + ROWS, position + queries) - 1
    positions = nearest + local_row
    q += batch.to(tl.int64) * q_batch_stride + head.to(tl.int64) * q_head_stride
    d_out += batch.to(tl.int64) * d_out_batch_stride + head.to(tl.int64) * d_out_head_stride
    of_row = (batch * heads + head).to(tl.int64) * q_len + rows
    q_rows = tile_of(q, first_row, end_row, q_row_stride, ROWS, HEAD_DIM, DIM, True)
    gradients = tile_of(d_out, first_row, end_row, d_out_row_stride, ROWS, HEAD_DIM, DIM, True)
    log2_sum = tl.load(log2_sums + of_row, mask=is_row, other=float("inf"))
    delta = tl.load(deltas + of_row, mask=is_row, other=0.0)
    wide = q_rows.to(tl.float32)
    query_norm = norm_above(tl.max(tl.sum(wide * wide, 1), 0)) * tl.abs(log2_scale)
    wide = gradients.to(tl.float32)
    squares = tl.sum(wide * wide, 1)
    has_none = (squares == 0) | (log2_sum == float("inf"))
    log2_gradient = tl.where(has_none, -float("inf"), tl.log2(norm_above(squares)) - log2_sum)
    has_none = (delta == 0) | (log2_sum == float("inf"))
    log2_delta = tl.where(has_none, -float("inf"), tl.log2(tl.abs(delta)) - log2_sum)

    dq = tl.zeros([ROWS, DIM], tl.float32)
    d_slope = tl.zeros([ROWS], tl.float32)
    own = tl.maximum(tl.minimum(nearest, key_count - 1), 0) // KEYS * KEYS
    own_end = tl.minimum(last + 1, key_count)
    for start in tl.range(own, own_end, KEYS, num_stages=1):
        dq, d_slope = add_keys(
            dq, d_slope, q_rows, gradients, log2_sum, delta, k, v, start, key_count, k_row_stride,
            v_row_stride, positions, slope, log2_scale,
            HEAD_DIM, DIM, KEYS, CAUSAL, True, WIDE, SLOPES, PRECISION,
        )  # fmt: skip
    after = own + tl.cdiv(tl.maximum(own_end - own, 0), KEYS) * KEYS
    near_block, far_block = tl.cdiv(after, BLOCK), tl.cdiv(key_count, BLOCK)
    done_before, done_after, most, moved = 0, 0, tl.maximum(AT_FIRST // KEYS, 1), 1
    while moved > 0:
        size = 0.5 * tl.log2(tl.sum(dq * dq, 1))
        offsets = slope * local_row.to(tl.float32)
        dropped = count_droppable_keys(
            norms, first_key, 0, 1, own // BLOCK, nearest - (BLOCK - 1), blocks, query_norm, slope,
            log2_share,
            most_of(log2_gradient, size + offsets, is_row),
            most_of(log2_delta, size + offsets, is_row), RAGGED,
        )  # fmt: skip
        need = own // KEYS - dropped * BLOCK // KEYS
        end_before = tl.minimum(need, most)
        for tile in tl.range(done_before, end_before, num_stages=STAGES):
            dq, d_slope = add_keys(
                dq, d_slope, q_rows, gradients, log2_sum, delta, k, v, own - (tile + 1) * KEYS,
                key_count, k_row_stride, v_row_stride, positions, slope, log2_scale,
                HEAD_DIM, DIM, KEYS, CAUSAL, False, WIDE, SLOPES, PRECISION,
            )  # fmt: skip
        moved = tl.maximum(end_before - done_before, 0)
        done_before += moved
        if not CAUSAL:
            offsets = slope * (last - positions).to(tl.float32)
            dropped = count_droppable_keys(
                norms, first_key, far_block - 1, -1, tl.maximum(far_block - near_block, 0),
                (far_block - 1) * BLOCK - last, blocks, query_norm, slope, log2_share,
                most_of(log2_gradient, size + offsets, is_row),
                most_of(log2_delta, size + offsets, is_row), RAGGED,
            )  # fmt: skip
            end_key = tl.minimum((far_block - dropped) * BLOCK, key_count)
            need = tl.cdiv(tl.maximum(end_key - after, 0), KEYS)
            end_after = tl.minimum(need, most)
            whole = tl.minimum(end_after, tl.maximum(key_count - after, 0) // KEYS)
            for tile in tl.range(done_after, whole, num_stages=STAGES):
                dq, d_slope = add_keys(
                    dq, d_slope, q_rows, gradients, log2_sum, delta, k, v, after + tile * KEYS,
                    key_count, k_row_stride, v_row_stride, positions, slope, log2_scale,
                    HEAD_DIM, DIM, KEYS, CAUSAL, False, WIDE, SLOPES, PRECISION,
                )  # fmt: skip
            for tile in tl.range(tl.maximum(done_after, whole), end_after, num_stages=1):
                dq, d_slope = add_keys(
                    dq, d_slope, q_rows, gradients, log2_sum, delta, k, v, after + tile * KEYS,
                    key_count, k_row_stride, v_row_stride, positions, slope, log2_scale,
                    HEAD_DIM, DIM, KEYS, CAUSAL, True, WIDE, SLOPES, PRECISION,
                )  # fmt: skip
            moved_after = tl.maximum(end_after - done_after, 0)
            done_after += moved_after
            moved += moved_after
        most = 1 << 30
    places = of_row[:, None] * HEAD_DIM + dims[None, :]
    inside = is_row[:, None] & (dims < HEAD_DIM)[None, :]
    tl.store(d_q + places, (dq * scale).to(d_q.dtype.element_ty), mask=inside)
    if SLOPES:
        part = tl.sum(tl.where(is_row, d_slope, 0.0), 0)
        tl.store(d_slopes + head.to(tl.int64) * slots + slot, part)
    counts = visited + 2 * (head.to(tl.int64) * slots + slot)
    tl.store(counts, done_before)
    tl.store(counts + 1, done_after)

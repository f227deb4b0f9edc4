"""The gradients, from the output and its log-sum-exp; two kernels, which add nothing atomically.

    p = 2^(score - lse)            dv = sum of p dout          dp = dout·v
    ds = p (dp - delta)            dk = sum of ds scale q      dq = sum of ds scale k
    delta = dout·out - dlse        dslope = sum of ds (-distance)

Scores and log-sum-exps are in powers of 2. In float16 p and ds would underflow for keys that are
older than all queries, so there their products are made in TF32, which has float16's digits and
float32's exponents. See docs/kernel.md for what is left out.
"""

import triton
import triton.language as tl

from variants.triton.kernel.bounds import (
    AT_ONCE,
    BLOCK,
    LOG2_E,
    MOST,
    certain_power,
    jit,
    largest_norms,
    log2_sum_of_block,
    norm_above,
)
from variants.triton.kernel.forward import AT_FIRST, least_of, tile_of

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


@triton.jit
def with_digits(log2):
    """Return a log2 for a bound from above, which is one too: float32 has digits for it, or inf."""
    finite = tl.where(log2 <= MOST, tl.maximum(log2, -MOST), float("inf"))
    return tl.where(log2 == -float("inf"), log2, finite)


@triton.jit
def power_or_none(log2, threshold):
    """Return `certain_power`, and 0 for a log2 of -inf: that is nothing, whatever it is held to."""
    return tl.where(log2 == -float("inf"), 0.0, certain_power(log2, threshold))


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
        batch = tl.load(runs + 6 * run)
        first_query, queries = tl.load(runs + 6 * run + 1), tl.load(runs + 6 * run + 2)
        first_key, key_count = tl.load(runs + 6 * run + 3), tl.load(runs + 6 * run + 4)
        position = tl.load(runs + 6 * run + 5)
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
        turn = begin + tl.arange(0, AT_ONCE)
        inside = turn < count
        block = farthest_block + step * turn
        key = largest_norms(norms, first_slot, block, inside, blocks, RAGGED)
        value = largest_norms(norms + blocks, first_slot, block, inside, blocks, RAGGED)
        distance = (farthest_distance - BLOCK * turn).to(tl.float32)
        score = query_norm * key
        nearest = tl.where(score <= MOST, score - slope * distance, float("inf"))
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
        batch = tl.load(runs + 6 * run)
        first_query, queries = tl.load(runs + 6 * run + 1), tl.load(runs + 6 * run + 2)
        first_key, key_count = tl.load(runs + 6 * run + 3), tl.load(runs + 6 * run + 4)
        position = tl.load(runs + 6 * run + 5)
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

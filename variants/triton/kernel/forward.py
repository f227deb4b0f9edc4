"""The forward: a block of queries attends to its own keys, then outwards as far as keys matter.

Scores and the running sums are in powers of 2: both the scale and the slope come times log2(e).
"""

import triton
import triton.language as tl

from variants.triton.kernel.bounds import (
    BLOCK,
    LN_2,
    LOG2_E,
    LOWEST,
    MOST,
    count_droppable,
    jit,
    norm_above,
)
from variants.triton.kernel.inputs import keys_and_values, run_at

AT_FIRST = tl.constexpr(512)  # keys, after which the sums say anew how many are needed


@triton.jit
def add_tile(
    acc, total, top, q, keys, values, column, row, is_seen, log2_scale,
    MASKED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add a tile to the running softmax; a score is q·k log2_scale + column - row."""
    scores = tl.dot(q, tl.trans(keys), input_precision=PRECISION) * log2_scale + column
    if MASKED:
        scores = tl.where(is_seen, scores, -float("inf"))
    highest = tl.maximum(top, tl.max(scores, 1) - row)
    weights = tl.exp2(scores - (highest + row)[:, None])
    shrunk = tl.exp2(top - highest)
    total = total * shrunk + tl.sum(weights, 1)
    acc = tl.dot(weights.to(values.dtype), values, acc * shrunk[:, None], input_precision=PRECISION)
    return acc, total, highest


@triton.jit
def add_bounded_tile(
    acc, total, top, q, keys, values, column, row, log2_scale, PRECISION: tl.constexpr
):
    """Add a tile as `add_tile` does, but leave `top`: no score is far over it."""
    scores = tl.dot(q, tl.trans(keys), input_precision=PRECISION) * log2_scale + column
    weights = tl.exp2(scores - (top + row)[:, None])
    acc = tl.dot(weights.to(values.dtype), values, acc, input_precision=PRECISION)
    return acc, total + tl.sum(weights, 1)


@triton.jit
def add_whole_tiles(
    acc, total, top, q, k, v, batch, kv_head, first, begin, end, is_bounded, k_row_stride,
    v_row_stride, positions, slope, log2_scale,
    STEP: tl.constexpr, HEAD_DIM: tl.constexpr, DIM: tl.constexpr, KEYS: tl.constexpr,
    STAGES: tl.constexpr, TMA: tl.constexpr, FIXED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add the tiles from `begin` to `end`, which nothing is masked in; tile 0 begins at `first`.

    STEP leads to the next. Behind the queries a slope is taken with the other sign. With FIXED
    there are two loops, of which one has no turn: the first if scores are not bounded, else the
    second.
    """
    column = (slope * tl.arange(0, KEYS).to(tl.float32))[None, :]
    running = begin
    if FIXED:
        running = tl.where(is_bounded, end, begin)
        for tile in tl.range(begin, running, num_stages=STAGES):
            start = first + STEP * tile
            keys, values = keys_and_values(
                k, v, batch, kv_head, start, start, k_row_stride, v_row_stride, KEYS, HEAD_DIM, DIM,
                False, TMA,
            )  # fmt: skip
            row = slope * (positions - start).to(tl.float32)
            acc, total = add_bounded_tile(
                acc, total, top, q, keys, values, column, row, log2_scale, PRECISION
            )
    for tile in tl.range(running, end, num_stages=STAGES):
        start = first + STEP * tile
        keys, values = keys_and_values(
            k, v, batch, kv_head, start, start, k_row_stride, v_row_stride, KEYS, HEAD_DIM, DIM,
            False, TMA,
        )  # fmt: skip
        row = slope * (positions - start).to(tl.float32)
        acc, total, top = add_tile(
            acc, total, top, q, keys, values, column, row, True, log2_scale, False, PRECISION
        )
    return acc, total, top


@triton.jit
def least_of(numbers, is_row):
    """Return the smallest number of the rows that there are."""
    return tl.min(tl.where(is_row, numbers, float("inf")), 0)


@triton.jit
def tops_suffice(heaviest, tops, is_row, edge, log2_limit):
    """Return whether no key beyond `edge` weighs over 2^log2_limit times a row's largest so far.

    `tops` are log2 of those, seen from the nearest query as `heaviest` of `count_droppable` is. It
    knows of whole blocks alone.
    """
    least = least_of(tops, is_row)
    has_digits = tl.abs(least) <= MOST
    return (edge % BLOCK == 0) & has_digits & (heaviest - least <= log2_limit)


@jit
def forward_kernel(
    q, k, v, out, log_sum_exp, slopes, head_order, norms, runs, work, visited,
    q_batch_stride, q_head_stride, q_row_stride, k_batch_stride, k_head_stride, k_row_stride,
    v_batch_stride, v_head_stride, v_row_stride, out_batch_stride, out_head_stride, out_row_stride,
    slopes_batch_stride, scale, log2_share, log2_limit,
    batches, heads, kv_heads, q_len, kv_len, blocks, slots,
    HEAD_DIM: tl.constexpr, DIM: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
    STAGES: tl.constexpr, CAUSAL: tl.constexpr, RAGGED: tl.constexpr, TMA: tl.constexpr,
    FIXED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Attend from ROWS queries of a head; programs of `head_order`'s first head begin first.

    `slots` is how many programs a head has. Dense: one for each batch entry and block of queries.
    Ragged: `work` [slots, 2] says which run and which of its blocks; `runs` are [runs, 6] int32,
    lines of variants.batches.runs.FIELDS. `visited` [heads, slots, 2] gets the number of tiles
    before the own ones and after them. With TMA k and v are descriptors, of a dense batch.
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
        batch, row_block = slot // row_blocks, row_blocks - 1 - slot % row_blocks  # longest first
        first_query, queries, first_key, key_count = 0, q_len, 0, kv_len
        position = kv_len - q_len
    kv_head = head // (heads // kv_heads)
    if not TMA:
        k += batch.to(tl.int64) * k_batch_stride + kv_head.to(tl.int64) * k_head_stride
        v += batch.to(tl.int64) * v_batch_stride + kv_head.to(tl.int64) * v_head_stride
    if RAGGED:
        k += first_key.to(tl.int64) * k_row_stride
        v += first_key.to(tl.int64) * v_row_stride
    norms += (batch * kv_heads + kv_head).to(tl.int64) * 2 * blocks
    slope = tl.load(slopes + batch * slopes_batch_stride + head) * LOG2_E
    log2_scale = scale * LOG2_E

    local_row, local = tl.arange(0, ROWS), tl.arange(0, KEYS)
    is_row = row_block * ROWS + local_row < queries
    rows = first_query + row_block * ROWS + local_row
    nearest = position + row_block * ROWS  # the first query's position
    last = tl.minimum(nearest + ROWS, position + queries) - 1
    positions = nearest + local_row
    dims = tl.arange(0, DIM)
    is_element = is_row[:, None] & (dims < HEAD_DIM)[None, :]
    q += batch.to(tl.int64) * q_batch_stride + head.to(tl.int64) * q_head_stride
    q_rows = tl.load(
        q + rows[:, None].to(tl.int64) * q_row_stride + dims[None, :], mask=is_element, other=0.0
    )
    wide = q_rows.to(tl.float32)
    query_norm = norm_above(tl.max(tl.sum(wide * wide, 1), 0)) * tl.abs(log2_scale)

    acc = tl.zeros([ROWS, DIM], tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    top = tl.full([ROWS], LOWEST, tl.float32)

    own = tl.maximum(tl.minimum(nearest, key_count - 1), 0) // KEYS * KEYS
    own_end = tl.minimum(last + 1, key_count)
    no_row = tl.zeros([ROWS], tl.float32)
    for start in tl.range(own, own_end, KEYS, num_stages=1):
        keys, values = keys_and_values(
            k, v, batch, kv_head, start, key_count, k_row_stride, v_row_stride, KEYS, HEAD_DIM, DIM,
            True, TMA,
        )  # fmt: skip
        steps = (start + local)[None, :] - positions[:, None]
        is_seen = ((start + local) < key_count)[None, :]
        if CAUSAL:
            is_seen = is_seen & (steps <= 0)
        bias = -slope * tl.abs(steps).to(tl.float32)
        acc, total, top = add_tile(
            acc, total, top, q_rows, keys, values, bias, no_row, is_seen, log2_scale,
            True, PRECISION,
        )  # fmt: skip

    # Tiles before the own ones, and behind them. `done` counts from the own ones outwards.
    after = own + tl.cdiv(tl.maximum(own_end - own, 0), KEYS) * KEYS
    near_block, far_block = tl.cdiv(after, BLOCK), tl.cdiv(key_count, BLOCK)
    done_before, done_after, most, moved = 0, 0, tl.maximum(AT_FIRST // KEYS, 1), 1
    row_offset = slope * local_row.to(tl.float32)
    while moved > 0:  # it ends with a count that finds no tile more to be needed
        sums = log2_share + top
        weight = sums + tl.log2(total)
        output = sums + 0.5 * tl.log2(tl.sum(acc * acc, 1))
        dropped, heaviest = count_droppable(
            norms, first_key, 0, 1, own // BLOCK, nearest - (BLOCK - 1), blocks, query_norm, slope,
            least_of(weight + row_offset, is_row), least_of(output + row_offset, is_row), RAGGED,
        )  # fmt: skip
        need_before = own // KEYS - dropped * BLOCK // KEYS
        end_before = tl.minimum(need_before, most)
        acc, total, top = add_whole_tiles(
            acc, total, top, q_rows, k, v, batch, kv_head, own - KEYS, done_before, end_before,
            tops_suffice(heaviest, top + row_offset, is_row, own, log2_limit),
            k_row_stride, v_row_stride, positions, slope, log2_scale,
            -KEYS, HEAD_DIM, DIM, KEYS, STAGES, TMA, FIXED, PRECISION,
        )  # fmt: skip
        moved = tl.maximum(end_before - done_before, 0)
        done_before += moved
        if not CAUSAL:
            last_offset = slope * (last - positions).to(tl.float32)
            dropped, heaviest = count_droppable(
                norms, first_key, far_block - 1, -1, tl.maximum(far_block - near_block, 0),
                (far_block - 1) * BLOCK - last, blocks, query_norm, slope,
                least_of(weight + last_offset, is_row), least_of(output + last_offset, is_row),
                RAGGED,
            )  # fmt: skip
            end_key = tl.minimum((far_block - dropped) * BLOCK, key_count)
            need_after = tl.cdiv(tl.maximum(end_key - after, 0), KEYS)
            end_after = tl.minimum(need_after, most)
            whole = tl.minimum(end_after, tl.maximum(key_count - after, 0) // KEYS)
            acc, total, top = add_whole_tiles(
                acc, total, top, q_rows, k, v, batch, kv_head, after, done_after, whole,
                tops_suffice(heaviest, top + last_offset, is_row, after, log2_limit),
                k_row_stride, v_row_stride, positions, -slope, log2_scale,
                KEYS, HEAD_DIM, DIM, KEYS, STAGES, TMA, FIXED, PRECISION,
            )  # fmt: skip
            for tile in tl.range(tl.maximum(done_after, whole), end_after, num_stages=1):
                start = after + tile * KEYS
                keys, values = keys_and_values(
                    k, v, batch, kv_head, start, key_count, k_row_stride, v_row_stride, KEYS,
                    HEAD_DIM, DIM, True, TMA,
                )  # fmt: skip
                column = -slope * local.to(tl.float32)
                row = slope * (start - positions).to(tl.float32)
                is_seen = ((start + local) < key_count)[None, :]
                acc, total, top = add_tile(
                    acc, total, top, q_rows, keys, values, column[None, :], row, is_seen,
                    log2_scale, True, PRECISION,
                )  # fmt: skip
            moved_after = tl.maximum(end_after - done_after, 0)
            done_after += moved_after
            moved += moved_after
        most = 1 << 30

    sees_none = total == 0
    acc = tl.where(sees_none[:, None], 0.0, acc / tl.where(sees_none, 1.0, total)[:, None])
    out += batch.to(tl.int64) * out_batch_stride + head.to(tl.int64) * out_head_stride
    tl.store(
        out + rows[:, None].to(tl.int64) * out_row_stride + dims[None, :],
        acc.to(out.dtype.element_ty),
        mask=is_element,
    )
    logs = tl.where(sees_none, -float("inf"), (top + tl.log2(total)) * LN_2)
    place = log_sum_exp + (batch * heads + head).to(tl.int64) * q_len
    tl.store(place + rows, logs, mask=is_row)
    counts = visited + 2 * (head.to(tl.int64) * slots + slot)
    tl.store(counts, done_before)
    tl.store(counts + 1, done_after)

"""What `split_kernel` and `combine_kernel` share: a program's rows, and which keys they need."""

import triton
import triton.language as tl

from variants.triton.kernel.bounds import BLOCK, LOG2_E, count_droppable, norm_above
from variants.triton.kernel.forward import add_tile, least_of
from variants.triton.kernel.inputs import run_at, tile_of

NEAR = tl.constexpr(64)  # keys up to a first query, at least, whose weight says which others count
NO_HEAD = tl.constexpr(1 << 30)


@triton.jit
def sequence_at(
    program, runs, heads, most_queries, kv_len, ROWS: tl.constexpr, TOGETHER: tl.constexpr,
    RAGGED: tl.constexpr,
):  # fmt: skip
    """Return a program's block of rows and first head, then its sequence, as of `run_at`.

    There are blocks for sequences of `most_queries`; shorter ones have none in the last.
    """
    row_blocks = tl.cdiv(TOGETHER * most_queries, ROWS)
    row_block = row_blocks - 1 - program % row_blocks
    first_head = program // row_blocks % (heads // TOGETHER) * TOGETHER
    line = program // (row_blocks * (heads // TOGETHER))
    if RAGGED:
        batch, first_query, queries, first_key, keys, position = run_at(runs, line)
        return row_block, first_head, batch, first_query, queries, first_key, keys, position
    return row_block, first_head, line, 0, most_queries, 0, kv_len, kv_len - most_queries


@triton.jit
def rows_at(row_block, queries, ROWS: tl.constexpr, TOGETHER: tl.constexpr):
    """Return each row's place among the program's heads, its query, and whether it is one.

    Rows are head after head. Then come the first query of them all, and the end of them.
    """
    first = row_block * ROWS
    row = first + tl.arange(0, ROWS)
    if TOGETHER == 1:
        return row * 0, row, row < queries, first, tl.minimum(first + ROWS, queries)
    rows, of_head = TOGETHER * queries, tl.maximum(queries, 1)
    return row // of_head, row % of_head, row < rows, 0, tl.where(first < rows, queries, 0)


@triton.jit
def queries_at(
    q, head, query, is_row, head_stride, row_stride, HEAD_DIM: tl.constexpr, DIM: tl.constexpr
):
    """Load the rows' queries: [rows, DIM]."""
    dims = tl.arange(0, DIM)
    places = head.to(tl.int64) * head_stride + query.to(tl.int64) * row_stride
    inside = is_row[:, None] & (dims < HEAD_DIM)[None, :]
    return tl.load(q + places[:, None] + dims[None, :], mask=inside, other=0.0)


@triton.jit
def own_begin(nearest, key_count, KEYS: tl.constexpr):
    """Return the first key of the tiles that a first query at `nearest` has for its own."""
    return tl.maximum(tl.minimum(nearest, key_count - 1) - (NEAR - 1), 0) // KEYS * KEYS


@triton.jit
def tiles_needed(
    acc, total, top, q_rows, head, distance, is_row, slopes, norms, first_key, own, nearest, blocks,
    log2_scale, log2_share, KEYS: tl.constexpr, RAGGED: tl.constexpr,
):  # fmt: skip
    """Return how many tiles before the own ones some head needs, after what its rows have summed.

    `distance` is how far each row is from the first query, which stands at `nearest`.
    """
    wide = q_rows.to(tl.float32)
    lengths = norm_above(tl.sum(wide * wide, 1)) * tl.abs(log2_scale)
    sums = log2_share + top
    weight = sums + tl.log2(total)
    output = sums + 0.5 * tl.log2(tl.sum(acc * acc, 1))
    dropped = own // BLOCK
    first_head = tl.min(tl.where(is_row, head, NO_HEAD), 0)
    last_head = tl.max(tl.where(is_row, head, -1), 0)
    for each in range(first_head, last_head + 1):
        slope = tl.load(slopes + each) * LOG2_E
        is_of_head = is_row & (head == each)
        offset = slope * distance.to(tl.float32)
        fewer, _ = count_droppable(
            norms, first_key, 0, 1, own // BLOCK, nearest - (BLOCK - 1), blocks,
            tl.max(tl.where(is_of_head, lengths, 0.0), 0), slope,
            least_of(weight + offset, is_of_head), least_of(output + offset, is_of_head), RAGGED,
        )  # fmt: skip
        dropped = tl.minimum(dropped, fewer)
    return own // KEYS - dropped * BLOCK // KEYS


@triton.jit
def add_tiles(
    acc, total, top, q_rows, k, v, own, begin, end, k_row_stride, v_row_stride, positions,
    slope, slope_of_all, log2_scale, HEAD_DIM: tl.constexpr, DIM: tl.constexpr, KEYS: tl.constexpr,
    STAGES: tl.constexpr, TOGETHER: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add the tiles from `begin` to `end`, counted from the own ones outwards.

    `slope` is of each row; `slope_of_all` is that of the only head, where TOGETHER is 1.
    """
    local = tl.arange(0, KEYS).to(tl.float32)
    column = (slope_of_all * local)[None, :] if TOGETHER == 1 else slope[:, None] * local[None, :]
    for tile in tl.range(begin, end, num_stages=STAGES):
        start = own - (tile + 1) * KEYS
        keys = tile_of(k, start, own, k_row_stride, KEYS, HEAD_DIM, DIM, False)
        values = tile_of(v, start, own, v_row_stride, KEYS, HEAD_DIM, DIM, False)
        row = slope * (positions - start).to(tl.float32)
        acc, total, top = add_tile(
            acc, total, top, q_rows, keys, values, column, row, True, log2_scale, False, PRECISION,
        )  # fmt: skip
    return acc, total, top

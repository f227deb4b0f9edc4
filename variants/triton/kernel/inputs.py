"""What the kernels read: sequences, as lines of variants.batches.runs.FIELDS, and tiles of rows."""

import triton
import triton.language as tl


@triton.jit
def run_at(runs, run):
    """Return the batch entry, first query, queries, first key, keys and position of a line."""
    runs += 6 * run
    batch, first_query, queries = tl.load(runs), tl.load(runs + 1), tl.load(runs + 2)
    first_key, keys, position = tl.load(runs + 3), tl.load(runs + 4), tl.load(runs + 5)
    return batch, first_query, queries, first_key, keys, position


@triton.jit
def tile_of(
    tensor, first, end, row_stride, KEYS: tl.constexpr, HEAD_DIM: tl.constexpr, DIM: tl.constexpr,
    MASKED: tl.constexpr,
):  # fmt: skip
    """Load rows `first` and on of a tensor: [KEYS, DIM]. Where masked, rows from `end` on are 0."""
    rows, dims = first + tl.arange(0, KEYS), tl.arange(0, DIM)
    places = tensor + rows[:, None].to(tl.int64) * row_stride + dims[None, :]
    if MASKED:
        inside = (rows < end)[:, None] & (dims < HEAD_DIM)[None, :]
        return tl.load(places, mask=inside, other=0.0)
    if HEAD_DIM != DIM:
        return tl.load(places, mask=(dims < HEAD_DIM)[None, :], other=0.0)
    return tl.load(places)


@triton.jit
def keys_and_values(
    k, v, batch, kv_head, first, end, k_row_stride, v_row_stride, KEYS: tl.constexpr,
    HEAD_DIM: tl.constexpr, DIM: tl.constexpr, MASKED: tl.constexpr, TMA: tl.constexpr,
):  # fmt: skip
    """Load a tile of keys and one of values, as `tile_of` does.

    By pointers k and v begin at the head's first row. With TMA they are descriptors of all heads,
    which end at `end`.
    """
    if TMA:
        keys = tl.reshape(k.load([batch, kv_head, first, 0]), [KEYS, DIM])
        values = tl.reshape(v.load([batch, kv_head, first, 0]), [KEYS, DIM])
    else:
        keys = tile_of(k, first, end, k_row_stride, KEYS, HEAD_DIM, DIM, MASKED)
        values = tile_of(v, first, end, v_row_stride, KEYS, HEAD_DIM, DIM, MASKED)
    return keys, values

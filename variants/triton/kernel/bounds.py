"""How much keys that were not read can weigh at most, and add to an output. See docs/kernel.md.

Keys are taken in blocks of BLOCK. For a query of length L = |scale q| log2(e) and a block whose
longest key is N, whose largest value is V, and whose nearest key is d away, in powers of 2:

    sum of weights  <=  2^(L N - slope d) (1 + x + x^2 + ... + x^63)        x = 2^-slope
    and what they add to the output is at most V times that.
"""

import triton
import triton.language as tl

BLOCK = tl.constexpr(64)
LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)
LOWEST = tl.constexpr(-3e38)  # a largest score so far, before there is one: -inf minus -inf is NaN
LOST_SQUARES = tl.constexpr(4e-36)  # of 256 squares that float32 may take for 0
ROUNDED_UP = tl.constexpr(1.0001)  # over the error of sums of float32
MOST = tl.constexpr(32768.0)  # larger exponents have too few digits left to certify anything
AT_ONCE = tl.constexpr(256)  # blocks
SPARE = tl.constexpr(40.0)  # log2: values of larger norms take from the room that weights have
ANY_LENGTH = (
    *("batches", "heads", "kv_heads", "q_len", "kv_len", "blocks", "slots", "splits"),
    *("most_queries", "slopes_batch_stride"),
)
"""Arguments for whose values nothing is compiled anew."""


def jit(kernel):
    """Return a kernel that Triton compiles for dtypes, strides and tiles, but not for lengths."""
    names = kernel.__code__.co_varnames[: kernel.__code__.co_argcount]
    return triton.jit(do_not_specialize=[name for name in ANY_LENGTH if name in names])(kernel)


@triton.jit
def norm_above(squares):
    """Return a norm from its square, rounded up; inf for NaN, which no maximum would show."""
    return tl.where(squares >= 0, tl.sqrt(squares + LOST_SQUARES) * ROUNDED_UP, float("inf"))


@jit
def block_norms_kernel(
    k,
    v,
    norms,
    k_batch_stride,
    k_head_stride,
    k_row_stride,
    v_batch_stride,
    v_head_stride,
    v_row_stride,
    kv_heads,
    kv_len,
    blocks,
    HEAD_DIM: tl.constexpr,
    DIM: tl.constexpr,
):
    """Write the largest norms of a block's keys and values: norms [batch, kv_heads, 2, blocks]."""
    block, head = tl.program_id(0), tl.program_id(1)
    batch, kv_head = (head // kv_heads).to(tl.int64), (head % kv_heads).to(tl.int64)
    slots = block * BLOCK + tl.arange(0, BLOCK)
    dims = tl.arange(0, DIM)
    inside = (slots < kv_len)[:, None] & (dims < HEAD_DIM)[None, :]
    k += batch * k_batch_stride + kv_head * k_head_stride
    v += batch * v_batch_stride + kv_head * v_head_stride
    rows = slots[:, None].to(tl.int64)
    keys = tl.load(k + rows * k_row_stride + dims[None, :], mask=inside, other=0.0).to(tl.float32)
    values = tl.load(v + rows * v_row_stride + dims[None, :], mask=inside, other=0.0).to(tl.float32)
    place = norms + head.to(tl.int64) * 2 * blocks + block
    tl.store(place, tl.max(norm_above(tl.sum(keys * keys, 1)), 0))
    tl.store(place + blocks, tl.max(norm_above(tl.sum(values * values, 1)), 0))


@triton.jit
def log2_sum_of_block(slope):
    """Return log2 of 1 + x + ... + x^63 with x = 2^-slope: exact for slopes near 0, and for 0."""
    total = tl.log2(1.0 + tl.exp2(-slope))
    total += tl.log2(1.0 + tl.exp2(-2 * slope))
    total += tl.log2(1.0 + tl.exp2(-4 * slope))
    total += tl.log2(1.0 + tl.exp2(-8 * slope))
    total += tl.log2(1.0 + tl.exp2(-16 * slope))
    return total + tl.log2(1.0 + tl.exp2(-32 * slope))


@triton.jit
def largest_norms(norms, first_slot, block, inside, blocks, RAGGED: tl.constexpr):
    """Return the norms of blocks that are counted from `first_slot`.

    In a ragged batch it may lie inside of a block of slots; then the larger norm of two counts.
    """
    if RAGGED:
        slot_block = (first_slot + block * BLOCK) // BLOCK
        one = tl.load(norms + slot_block, mask=inside, other=0.0)
        other = tl.load(norms + slot_block + 1, mask=inside & (slot_block + 1 < blocks), other=0.0)
        return tl.maximum(one, other)
    return tl.load(norms + block, mask=inside, other=0.0)


@triton.jit
def certain_power(log2, threshold):
    """Return 2^(log2 - threshold), rounded up; inf where float32 can't tell, and for NaN."""
    power = log2 - tl.where(tl.abs(threshold) <= MOST, threshold, -float("inf"))
    return tl.where(power <= 100.0, tl.exp2(power) * ROUNDED_UP, float("inf"))


@triton.jit
def bounds_of_blocks(
    norms, first_slot, farthest_block, step, begin, count, farthest_distance, blocks, query_norm,
    slope, RAGGED: tl.constexpr,
):  # fmt: skip
    """Return what AT_ONCE of the blocks of `count_droppable` hold at most, from `begin` on.

    That is which of them are there, the norm of a key and of a value, and log2 of the weight that
    the nearest key can have at the nearest query: inf where float32 can't tell.
    """
    turn = begin + tl.arange(0, AT_ONCE)
    inside = turn < count
    block = farthest_block + step * turn
    key = largest_norms(norms, first_slot, block, inside, blocks, RAGGED)
    value = largest_norms(norms + blocks, first_slot, block, inside, blocks, RAGGED)
    distance = (farthest_distance - BLOCK * turn).to(tl.float32)
    score = query_norm * key
    nearest = tl.where(score <= MOST, score - slope * distance, float("inf"))
    return inside, key, value, nearest


@triton.jit
def count_droppable(
    norms,
    first_slot,
    farthest_block,
    step,
    count,
    farthest_distance,
    blocks,
    query_norm,
    slope,
    least_weight,
    least_output,
    RAGGED: tl.constexpr,
):
    """Return how many of `count` blocks can be left out together, the farthest first.

    The blocks are `farthest_block`, then each `step` (1 or -1) further; the nearest key of the
    first is `farthest_distance` from the nearest query. `least_weight` and `least_output` are log2
    of what the blocks may weigh and add together, seen from the nearest query. Also returns log2 of
    the largest weight that a single key of all these blocks can have there, times its value's norm
    over 2^SPARE where that is more than 1.
    """
    zeros = log2_sum_of_block(slope)
    dropped = 0
    weights, outputs = 0.0, 0.0
    heaviest = -float("inf")
    slant = tl.maximum(-slope, 0.0) * (BLOCK - 1)  # under a negative slope the far keys weigh more
    for begin in range(0, count, AT_ONCE):
        inside, _, value, nearest = bounds_of_blocks(
            norms, first_slot, farthest_block, step, begin, count, farthest_distance, blocks,
            query_norm, slope, RAGGED,
        )  # fmt: skip
        heavy = nearest + slant + tl.maximum(tl.log2(value) - SPARE, 0.0)
        heaviest = tl.maximum(heaviest, tl.max(tl.where(inside, heavy, -float("inf")), 0))
        weight = certain_power(nearest + zeros, least_weight)
        output = certain_power(nearest + zeros + tl.log2(value), least_output)
        weight = tl.where(inside, weight, float("inf"))
        summed_weights = tl.cumsum(weight, 0) + weights
        summed_outputs = tl.cumsum(output, 0) + outputs
        dropped += tl.sum(((summed_weights <= 1.0) & (summed_outputs <= 1.0)).to(tl.int32), 0)
        weights += tl.sum(weight, 0)
        outputs += tl.sum(tl.where(inside, output, 0.0), 0)
    return dropped, heaviest


@triton.jit
def with_digits(log2):
    """Return a log2 for a bound from above, which is one too: float32 has digits for it, or inf."""
    finite = tl.where(log2 <= MOST, tl.maximum(log2, -MOST), float("inf"))
    return tl.where(log2 == -float("inf"), log2, finite)


@triton.jit
def power_or_none(log2, threshold):
    """Return `certain_power`, and 0 for a log2 of -inf: that is nothing, whatever it is held to."""
    return tl.where(log2 == -float("inf"), 0.0, certain_power(log2, threshold))

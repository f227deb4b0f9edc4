"""With norms of the cache a step reads the keys that it needs, and answers as without them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.effort import examples
from tests.variants.native.test_few_queries import (
    assert_right,
    call_kernel,
    draw_qkv,
    truth,
)
from variants.batches.cache_norms import append_norms, cache_norms
from variants.native.kernel_arguments import BIDIRECTIONAL, CAUSAL
from variants.native.kernel_call import attend
from variants.problem import alibi_slopes

LENGTH = 6000


@pytest.mark.usefixtures("some_threads")
def test_steep_heads_read_their_own_part_and_gentle_ones_theirs() -> None:
    q, k, v = draw_qkv(kv_len=LENGTH)
    norms = cache_norms(k, v)
    shares = []
    for head, slope in enumerate(alibi_slopes(8).split(1)):
        part = q[:, [head]], k[:, [head]], v[:, [head]]
        done = attend(*part, slope, 0.125, CAUSAL, norms=norms[:, [head]])
        shares.append(done.looked_at / LENGTH)
    assert shares == sorted(shares)
    assert shares[0] < 0.03
    assert shares[7] > 0.5
    together = call_kernel(q, k, v, norms=norms).looked_at / (8 * LENGTH)
    assert together == pytest.approx(sum(shares) / 8, rel=0.1)


def test_heads_of_a_group_are_answered_each_with_its_own_slope() -> None:
    q, k, v = draw_qkv(heads=16, kv_heads=2, q_len=3, kv_len=LENGTH)
    found = call_kernel(q, k, v, norms=cache_norms(k, v))
    assert found.looked_at < 0.4 * 16 * 3 * LENGTH
    assert_right(found, truth(q, k, v), q.dtype)


@pytest.mark.usefixtures("some_threads")
@pytest.mark.parametrize("place", [0, 63, 64, 2500, LENGTH - 65, LENGTH - 64])
def test_a_far_key_that_wins_is_read(place: int) -> None:
    q, k, v = draw_qkv(kv_len=LENGTH)
    k[:, :, place] = 4e4 * q[:, :, 0] / q[:, :, 0].norm(dim=-1, keepdim=True)
    assert_right(call_kernel(q, k, v, norms=cache_norms(k, v)), truth(q, k, v), q.dtype)


@pytest.mark.usefixtures("some_threads")
@pytest.mark.parametrize("factor", [1e4, 1e12, 1e30])
def test_far_values_that_outweigh_the_near_ones_are_read(factor: float) -> None:
    q, k, v = draw_qkv(kv_len=LENGTH)
    v[:, :, : LENGTH // 2] *= factor
    found, wanted = call_kernel(q, k, v, norms=cache_norms(k, v)).out, truth(q, k, v)[0]
    errors = (found - wanted).norm(dim=-1) / wanted.norm(dim=-1)
    assert errors.max() < 1e-5


@pytest.mark.usefixtures("some_threads")
@pytest.mark.parametrize("part", ["k", "v"])
@pytest.mark.parametrize("bad", [math.nan, -math.nan, math.inf, 3e38])
def test_numbers_that_are_none_are_read_and_not_certified_away(bad: float, part: str) -> None:
    q, k, v = draw_qkv(kv_len=LENGTH)
    (k if part == "k" else v)[:, 7, 10] = bad
    q[:, 7] *= 0.01  # so that norms alone are a reason to read the key
    with_norms = call_kernel(q, k, v, norms=cache_norms(k, v)).out
    wanted = call_kernel(q, k, v).out
    torch.testing.assert_close(with_norms, wanted, rtol=1e-5, atol=1e-5, equal_nan=True)


@pytest.mark.usefixtures("some_threads")
def test_weights_whose_values_are_0_count_too() -> None:
    q, k, v = draw_qkv(kv_len=LENGTH)
    q.zero_()
    v[:, :, : LENGTH - 200] = 0
    norms = cache_norms(k, v)
    assert_right(call_kernel(q, k, v, norms=norms), truth(q, k, v), q.dtype)


@pytest.mark.usefixtures("some_threads")
def test_values_whose_squares_overflow_are_compared_all_the_same() -> None:
    q, k, v = draw_qkv(kv_len=LENGTH)
    v *= 1e22
    v[:, :, : LENGTH - 1000] *= 1e12
    found, wanted = call_kernel(q, k, v, norms=cache_norms(k, v)).out, truth(q, k, v)[0]
    errors = (found - wanted).norm(dim=-1) / wanted.norm(dim=-1)
    assert errors.max() < 1e-5


@pytest.mark.usefixtures("some_threads")
@pytest.mark.parametrize("size", [1.0, 1e14])
@pytest.mark.parametrize("slopes", [[0.01, 0.02, 0.5, 0.6], [0.6, 0.5, 0.02, 0.01]])
def test_one_row_of_a_group_goes_on_where_the_others_are_done(
    slopes: list[float], size: float
) -> None:
    q, k, v = draw_qkv(heads=4, kv_heads=1, kv_len=LENGTH)
    q.zero_()
    signs = torch.tensor([1.0, -1, -1, 1]).repeat(16)[:, None]
    v[:, :, -64:] = 1e4 * signs  # cancels where weights hardly fall
    v *= size
    given = torch.tensor(slopes)
    reads, wanted = (
        attend(q, k, v, given, 0.1, CAUSAL, norms=norms) for norms in (cache_norms(k, v), None)
    )
    assert reads.looked_at < wanted.looked_at
    errors = (reads.out - wanted.out).double().norm(dim=-1) / wanted.out.double().norm(dim=-1)
    assert errors.max() < 1e-6


@pytest.mark.parametrize("head", range(8))
def test_what_is_left_out_weighs_half_an_eps_at_most_and_not_far_less(head: int) -> None:
    """Without scores the weights are known: exp of minus slope times distance."""
    q, k, v = draw_qkv(heads=1, kv_heads=1, kv_len=20000)
    q.zero_()
    slope = alibi_slopes(8)[[head]]
    done = attend(q, k, torch.ones_like(v), slope, 0.1, CAUSAL, norms=cache_norms(k, v))
    weights = torch.exp(-slope.double() * torch.arange(20000))
    left_out = float(weights[done.looked_at :].sum() / weights.sum())
    half_eps = 2.0**-24
    assert left_out <= half_eps
    further = int(64 + math.log(100) / float(slope))  # norms are of whole blocks, and rounded up
    assert float(weights[done.looked_at - further :].sum() / weights.sum()) > half_eps


@pytest.mark.parametrize("slope", [0.0, -0.5])
def test_a_slope_that_is_not_over_0_reads_every_key(slope: float) -> None:
    q, k, v = draw_qkv(heads=1, kv_heads=1, kv_len=192)
    k.zero_()
    k[:, :, -1:] = 1000 * q / q.square().sum()
    norms = cache_norms(k, v)
    assert attend(q, k, v, torch.tensor([slope]), 0.1, CAUSAL, norms=norms).looked_at == 192


def test_where_a_sequence_begins_in_the_cache_does_not_matter() -> None:
    q, k, v = draw_qkv(kv_len=2 * LENGTH)
    norms = cache_norms(k, v)
    some = torch.tensor([[0, 0, 1, LENGTH, LENGTH, LENGTH - 1]])
    found = call_kernel(q, k, v, sequences=some, norms=norms)
    alone = k[:, :, LENGTH:], v[:, :, LENGTH:]
    wanted = call_kernel(q, *alone, norms=cache_norms(*alone))
    torch.testing.assert_close(found.out, wanted.out)
    assert found.looked_at == pytest.approx(wanted.looked_at, rel=0.1)


def test_bidirectional_queries_read_every_key() -> None:
    q, k, v = draw_qkv(q_len=4, kv_len=900)
    assert call_kernel(q, k, v, BIDIRECTIONAL, norms=cache_norms(k, v)).looked_at == 8 * 4 * 900


def test_norms_are_the_largest_of_each_block_and_at_least_the_truth() -> None:
    _, k, v = draw_qkv(kv_len=200)
    norms = cache_norms(k, v)
    assert norms.shape == (1, 8, 2, 4)
    for row, part in enumerate((k, v)):
        sizes = part.double().norm(dim=-1)
        for block in range(4):
            largest = sizes[:, :, 64 * block : 64 * (block + 1)].amax(dim=-1)
            assert (norms[:, :, row, block] >= largest).all()
            assert (norms[:, :, row, block] <= 1.001 * largest).all()


def test_norms_of_padding_and_free_slots_are_0() -> None:
    _, k, v = draw_qkv(batch=2, kv_len=256)
    padding = torch.zeros(2, 256, dtype=torch.bool)
    padding[:, :100] = True
    k[:, :, :100] = math.nan
    assert (cache_norms(k, v, key_padding=padding)[..., 0] == 0).all()
    assert cache_norms(k, v, key_padding=padding).isfinite().all()
    k[:, :, 100:] = v[:, :, 100:] = math.inf
    lens = torch.tensor([0, 0], dtype=torch.int32)
    assert (cache_norms(k, v, kv_lens=lens) == 0).all()


def test_appended_norms_are_those_of_the_whole_cache() -> None:
    _, k, v = draw_qkv(batch=2, kv_len=300)
    norms = cache_norms(k, v, kv_lens=torch.tensor([100, 60]))
    for step in range(200):
        firsts = [100 + step, 60 + step]
        new_k, new_v = (
            torch.stack([part[row, :, [first]] for row, first in enumerate(firsts)])
            for part in (k, v)
        )
        append_norms(norms, new_k, new_v, torch.tensor(firsts))
    torch.testing.assert_close(norms, cache_norms(k, v, kv_lens=torch.tensor([300, 260])))
    rest = k[:, :, 260:], v[:, :, 260:]
    torch.testing.assert_close(append_norms(norms, *rest, 260), cache_norms(k, v))


def test_keys_past_the_last_block_are_refused() -> None:
    _, k, v = draw_qkv(kv_len=64)
    with pytest.raises(ValueError, match="first 60: 5 new keys are not inside of"):
        append_norms(cache_norms(k, v), k[:, :, :5], v[:, :, :5], 60)


@given(
    first_key=st.integers(0, 200),
    keys=st.integers(1, 3000),
    beyond=st.integers(-40, 200),
    q_len=st.integers(1, 16),
    group=st.integers(1, 5),
    log_size=st.floats(-3, 2),
    count=st.integers(1, 4),
)
@settings(max_examples=examples(300), deadline=None)
def test_random_caches_are_answered_rightly(
    first_key: int, keys: int, beyond: int, q_len: int, group: int, log_size: float, count: int
) -> None:
    """Keys stand anywhere in the cache, and queries before, at or after the last key."""
    q, k, v = draw_qkv(heads=2 * group, kv_heads=2, q_len=q_len, kv_len=first_key + keys, dim=24)
    k, v = k * 10**log_size, v * torch.logspace(3, -3, first_key + keys)[:, None]
    k[:, :, :first_key] = v[:, :, :first_key] = math.nan
    padding = torch.arange(first_key + keys)[None] < first_key
    norms = cache_norms(k, v, key_padding=padding)
    sequences = torch.tensor([[0, 0, q_len, first_key, keys, keys - q_len + beyond]])
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    found = call_kernel(q, k, v, sequences=sequences, norms=norms)
    wanted = call_kernel(q, k, v, sequences=sequences)
    torch.set_num_threads(before)
    _assert_close(found.out, wanted.out)
    torch.testing.assert_close(found.log_sum_exp, wanted.log_sum_exp, rtol=1e-5, atol=1e-5)
    assert found.looked_at <= wanted.looked_at


def _assert_close(found: Tensor, wanted: Tensor) -> None:
    errors = (found - wanted).norm(dim=-1) / wanted.norm(dim=-1).clamp(min=1e-30)
    assert errors.max() < 1e-5

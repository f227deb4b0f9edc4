"""No window leaves out more weight than it states, whatever the data: summed in float64."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.effort import the_first
from tests.variants.attacks import ATTACKS, DTYPES, HEADS, draw_qk, logs_of_weights, spec_for
from tests.variants.same_draws import same_draws
from variants.norms import BLOCK
from variants.problem import alibi_slopes
from variants.windows import _bias_bounds, density, depth_of, tolerance, windows_of

the_same_everywhere = same_draws(60)


def even(k: Tensor) -> Tensor:
    """Return values of one size, for which the bound is one of weights alone."""
    return torch.ones_like(k)


def first_keys(q: Tensor, k: Tensor, slopes: Tensor) -> Tensor:
    """Return the first key that each query's window holds: [batch, heads, q_len]."""
    q_len, kv_len = q.shape[2], k.shape[2]
    back = windows_of(spec_for(q, k))(q, k, even(k), slopes).back
    blocks = back.shape[2]
    own = kv_len - BLOCK * torch.arange(blocks, 0, -1)  # where each block of keys begins
    first = (own - BLOCK * back).clamp(min=0).repeat_interleave(BLOCK, dim=2)[..., -q_len:]
    front = first.new_zeros((*first.shape[:2], q_len - first.shape[2]))
    return torch.cat([front, first], dim=2)


def most_left_out(q: Tensor, k: Tensor, slopes: Tensor) -> float:
    """Return the largest share of any row's weight that lies before its window."""
    outside = torch.arange(k.shape[2]) < first_keys(q, k, slopes)[..., None]
    weights = logs_of_weights(q, k, slopes).exp()
    return (weights * outside).sum(dim=-1).max().item()


def most_buried(q: Tensor, k: Tensor, slopes: Tensor) -> float:
    """Return the largest share of any row's weight whose bias is below the depth."""
    q_len, kv_len = q.shape[2], k.shape[2]
    distance = torch.arange(kv_len - q_len, kv_len)[:, None] - torch.arange(kv_len)
    depth = windows_of(spec_for(q, k))(q, k, even(k), slopes).depth
    buried = slopes[:, None, None] * distance > depth[:, None, None]
    return (logs_of_weights(q, k, slopes).exp() * buried).sum(dim=-1).max().item()


def left_out_share(q: Tensor, k: Tensor, slopes: Tensor) -> float:
    """Return the share of causal pairs that lie outside of the windows."""
    first = first_keys(q, k, slopes).double()
    return (first.sum() / (q.shape[1] * q.shape[2] * (q.shape[2] + 1) / 2)).item()


def assert_certified(q: Tensor, k: Tensor, slopes: Tensor) -> None:
    assert most_left_out(q, k, slopes) <= tolerance(q.dtype)
    assert most_buried(q, k, slopes) <= tolerance(q.dtype)


@pytest.mark.matrix
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_widens_the_window(
    attack: Callable[[Tensor, Tensor], None], dtype: torch.dtype
) -> None:
    q, k = draw_qk(700, dtype=dtype)
    slopes = alibi_slopes(HEADS)
    plain = first_keys(q, k, slopes)
    attack(q, k)
    assert_certified(q, k, slopes)
    assert (first_keys(q, k, slopes) < plain).any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_at_a_logit_scale_of_16_nothing_of_weight_is_lost(dtype: torch.dtype) -> None:
    q, k = draw_qk(700, dtype=dtype, size=16)
    assert_certified(q, k, alibi_slopes(HEADS))


@pytest.mark.parametrize("size", [6e4, 1e-7])
def test_nor_at_the_ends_of_float16(size: float) -> None:
    q, k = draw_qk(300, dtype=torch.float16)
    q, k = q.clamp(-1, 1) * size, k.clamp(-1, 1) * size
    assert_certified(q, k, alibi_slopes(HEADS))


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_where_a_norm_is_no_number_every_key_is_looked_at(wrong: float) -> None:
    q, k = draw_qk(300)
    k[:, :, 3] = wrong
    assert (first_keys(q, k, alibi_slopes(HEADS))[..., 128:] == 0).all()


@pytest.mark.parametrize("slope", [0.0, -0.1, 200.0])
def test_learned_slopes_may_be_anything(slope: float) -> None:
    q, k = draw_qk(300)
    slopes = torch.full((HEADS,), slope)
    assert most_left_out(q, k, slopes) <= tolerance(q.dtype)
    assert (first_keys(q, k, slopes)[..., -1] == 0).all() == (slope <= 0)


def test_far_keys_that_attract_and_near_ones_that_repel_are_not_buried() -> None:
    q, k = torch.ones(1, HEADS, 1024, 32), torch.full((1, HEADS, 1024, 32), 3.5)
    k[:, :, -256:] *= -1  # scores of 20 and -20
    assert_certified(q, k, alibi_slopes(HEADS))


def test_depth_is_twice_the_largest_score_and_what_a_row_of_zeros_needs() -> None:
    q, k = draw_qk(300)
    slopes = alibi_slopes(HEADS)
    largest = q.norm(dim=-1).amax(-1) * k.norm(dim=-1).amax(-1) / math.sqrt(32)
    wanted = 2 * largest[0] - math.log(tolerance(q.dtype)) - (1 - (-slopes).exp()).log()
    for depth in (
        windows_of(spec_for(q, k))(q, k, even(k), slopes).depth,
        depth_of(spec_for(q, k))(q, k, even(k), slopes),
    ):
        torch.testing.assert_close(depth, wanted, rtol=1e-4, atol=0)
        assert (depth >= wanted).all()


@pytest.mark.parametrize(("kv_len", "whole"), [(128, 1), (138, 1), (192, 2), (202, 2)])
def test_only_whole_blocks_bound_a_weight_from_below(kv_len: int, whole: int) -> None:
    columns = -(-kv_len // BLOCK)
    bounds = _bias_bounds(alibi_slopes(HEADS), torch.tensor([columns - 1]), kv_len, 1e-3, 1.0)
    assert (bounds.least[:, 0] > -math.inf).sum(dim=-1).tolist() == [whole] * HEADS


def test_a_block_may_have_its_one_large_key_nearest_to_the_query() -> None:
    """The mean of a block's exponentials says nothing of which key is the nearest."""
    q, k = torch.ones(1, 1, 1024, 32), torch.zeros(1, 1, 1024, 32)
    k[:, :, 63:832:64] = 0.744
    assert most_left_out(q, k, torch.tensor([0.02736])) <= tolerance(torch.float32)


def test_a_bias_that_grows_beyond_float32_leaves_out_nothing() -> None:
    q, k = draw_qk(3000)
    assert (first_keys(q, k, torch.full((HEADS,), -0.1)) == 0).all()


@pytest.mark.heavy
def test_weight_is_bounded_by_near_blocks_alone_at_no_risk() -> None:
    q, k = draw_qk(6000)  # more blocks than are summed up
    k[:, :, -4200:] *= 1e-3
    k[:, :, :1500] = 3 * q[:, :, -1:]
    assert_certified(q, k, alibi_slopes(8)[4:])


@pytest.mark.parametrize("dtype", the_first(1, DTYPES), ids=str)
def test_plain_data_is_mostly_left_out(dtype: torch.dtype) -> None:
    q, k = draw_qk(1700, dtype=dtype)
    assert_certified(q, k, alibi_slopes(HEADS))
    assert left_out_share(q, k, alibi_slopes(HEADS)) > 0.3


def test_heads_that_share_keys_have_windows_of_their_own() -> None:
    q, k = draw_qk(700)
    k = k[:, :2]
    assert_certified(q, k, alibi_slopes(HEADS))
    k[:, 1] *= 20
    assert_certified(q, k, alibi_slopes(HEADS))
    k[:, 1] /= 20
    steep, gentler = first_keys(q, k, alibi_slopes(HEADS))[0, :2, -1]
    assert steep > gentler


def test_many_heads_are_bounded_in_portions_with_the_same_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    q, k = draw_qk(700)
    at_once = windows_of(spec_for(q, k))(q, k, even(k), alibi_slopes(HEADS))
    monkeypatch.setattr("variants.windows._AT_ONCE", 1)
    by_head = windows_of(spec_for(q, k))(q, k, even(k), alibi_slopes(HEADS))
    assert all(torch.equal(one, other) for one, other in zip(at_once, by_head, strict=True))


@pytest.mark.parametrize(("kv_len", "q_len"), [(1024, 1024), (700, 700), (1000, 300), (500, 1)])
def test_density_is_the_share_of_pairs_of_blocks_inside_the_windows(
    kv_len: int, q_len: int
) -> None:
    q, k = draw_qk(kv_len, q_len)
    slopes = alibi_slopes(HEADS)
    back = windows_of(spec_for(q, k))(q, k, even(k), slopes).back[0].tolist()
    last = -(-kv_len // BLOCK) - 1
    inside = causal = 0
    for head in back:
        for place, own in enumerate(range(last - len(head) + 1, last + 1)):
            for block in range(own + 1):
                causal += 1
                inside += own - block <= head[place]
    assert density(spec_for(q, k), q, k, even(k), slopes) == pytest.approx(inside / causal)


def test_density_falls_with_length_and_is_1_for_huge_norms() -> None:
    found = [
        density(spec_for(q, k), q, k, even(k), alibi_slopes(HEADS))
        for q, k in map(draw_qk, (512, 1024, 2048))
    ]
    assert 1 > found[0] > found[1] > found[2] > 0
    q, k = draw_qk(512)
    assert density(spec_for(q, k), q * 1000, k * 1000, even(k), alibi_slopes(HEADS)) == 1.0


@the_same_everywhere
@given(
    kv_len=st.integers(1, 400),
    fewer=st.integers(0, 399),
    dtype=st.sampled_from(DTYPES),
    size=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    attacks=st.sets(st.sampled_from(ATTACKS[:1] + ATTACKS[4:])),
    steep=st.floats(1e-3, 3.0),
)
def test_no_random_problem_loses_more_than_stated(
    kv_len: int,
    fewer: int,
    dtype: torch.dtype,
    size: float,
    attacks: set[Callable[[Tensor, Tensor], None]],
    steep: float,
) -> None:
    q, k = draw_qk(kv_len, max(1, kv_len - fewer), dtype, size)
    if q.shape[2] > 70:
        for attack in attacks:
            attack(q, k)
    assert_certified(q, k, alibi_slopes(HEADS) * steep)

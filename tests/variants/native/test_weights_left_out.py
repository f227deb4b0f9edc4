"""No answer of native_window loses more weight than is stated; what can be left out is left out."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.variants.attacks import ATTACKS, DTYPES, HEADS, draw_qk, logs_of_weights, spec_for
from tests.variants.formula import truth
from tests.variants.native.dense_answer import answer
from variants.native import kernel_library
from variants.native.native_window import density
from variants.problem import alibi_slopes
from variants.windows import tolerance


def visited_keys(q: Tensor, k: Tensor, slopes: Tensor, *, causal: bool = True) -> Tensor:
    """Say which keys gave a query anything: [batch, heads, q_len, kv_len].

    The values of each block of keys are 1 in a column of their own.
    """
    v = torch.zeros_like(k)
    for block in range(-(-k.shape[2] // kernel_library.BLOCK)):
        v[:, :, block * kernel_library.BLOCK : (block + 1) * kernel_library.BLOCK, block] = 1
    blocks = answer(q, k, v, slopes, causal=causal) != 0
    return blocks.repeat_interleave(kernel_library.BLOCK, dim=-1)[..., : k.shape[2]]


def most_left_out(q: Tensor, k: Tensor, slopes: Tensor, *, causal: bool = True) -> float:
    """Return the largest share of any row's weight that was not looked at."""
    weights = logs_of_weights(q, k, slopes, causal=causal).exp()
    return (weights * ~visited_keys(q, k, slopes, causal=causal)).sum(dim=-1).max().item()


@pytest.mark.matrix
@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_no_attack_makes_a_row_lose_weight(
    attack: Callable[[Tensor, Tensor], None], dtype: torch.dtype, *, causal: bool
) -> None:
    q, k = draw_qk(1000, dtype=dtype)
    slopes = alibi_slopes(HEADS)
    spec = replace(spec_for(q, k), causal=causal)
    plain = density(spec, q, k, k, slopes)
    attack(q, k)
    assert most_left_out(q, k, slopes, causal=causal) <= tolerance(dtype)
    assert density(spec, q, k, k, slopes) >= plain


@pytest.mark.matrix
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_nor_does_one_that_comes_from_behind_when_attention_is_bidirectional(
    attack: Callable[[Tensor, Tensor], None], dtype: torch.dtype
) -> None:
    q, k = draw_qk(1000, dtype=dtype)
    attack(q, k)
    backwards = [one.flip(2) for one in (q, k)]
    lost = most_left_out(backwards[0], backwards[1], alibi_slopes(HEADS), causal=False)
    assert lost <= tolerance(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_at_a_logit_scale_of_16_nothing_of_weight_is_lost(dtype: torch.dtype) -> None:
    q, k = draw_qk(700, dtype=dtype, size=16)
    assert most_left_out(q, k, alibi_slopes(HEADS)) <= tolerance(dtype)


@pytest.mark.parametrize("size", [6e4, 1e-7])
def test_nor_at_the_ends_of_float16(size: float) -> None:
    q, k = draw_qk(300, dtype=torch.float16)
    q, k = q.clamp(-1, 1) * size, k.clamp(-1, 1) * size
    assert most_left_out(q, k, alibi_slopes(HEADS)) <= tolerance(torch.float16)


def test_nor_where_many_far_keys_add_up() -> None:
    q, k = torch.ones(1, 1, 2, 32), torch.ones(1, 1, 1900, 32)
    k[:, :, -602:-2] = -1  # so that a row's own key is nearly all of its weight
    assert most_left_out(q, k, torch.tensor([2.0**-5])) <= tolerance(torch.float32)


def test_nor_where_the_last_query_of_a_block_alone_needs_more() -> None:
    q, k = torch.zeros(1, 1, 320, 32), torch.zeros(1, 1, 320, 32)
    q[:, :, -1] = 1.0
    k[:, :, -128:] = -60 / 32**0.5
    assert most_left_out(q, k, torch.tensor([0.5])) <= tolerance(torch.float32)


@pytest.mark.parametrize("slope", [1e-45, 1e-43, 1e-38])
def test_a_slope_too_small_for_float32_leaves_out_nothing_of_weight(slope: float) -> None:
    q, k = draw_qk(700)
    assert most_left_out(q, k, torch.full((HEADS,), slope)) <= tolerance(torch.float32)


def test_nor_where_squares_of_keys_are_flushed_to_0() -> None:
    q, k = torch.full((1, 1, 192, 32), 3.2e18), torch.full((1, 1, 192, 32), -1.05e-19)
    k[:, :, :64] *= -1
    slope = torch.tensor([0.306])  # at which far scores of 0 would just not matter
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor flushes nothing")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the one that flushes
    try:
        lost = most_left_out(q, k, slope)
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
    assert lost <= tolerance(torch.float32)


@pytest.mark.parametrize("key", [3, 100])
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_far_key_that_is_no_number_reaches_every_later_row(
    wrong: float, dtype: torch.dtype, key: int
) -> None:
    q, k = draw_qk(700, dtype=dtype)
    q[..., 0] = 1.0
    k[:, :, key, 0] = wrong
    out = answer(q, k, k.nan_to_num(0, 0, 0), alibi_slopes(HEADS))
    assert out[:, :, key:].isnan().all()
    assert out[:, :, :key].isfinite().all()


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
@pytest.mark.parametrize("slope", [0.0, -0.1, 200.0, math.nan])
def test_slopes_may_be_anything(slope: float, *, causal: bool) -> None:
    q, k = draw_qk(300)
    slopes = torch.full((HEADS * 2,), slope)[::2]
    found = answer(q, k, k, slopes, causal=causal)
    wanted = truth(q, k, k, slopes, causal=causal)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_a_bias_that_rises_with_distance_is_bounded_by_a_block_s_farthest_key() -> None:
    q, k = torch.ones(1, 1, 128, 32), torch.zeros(1, 1, 128, 32)
    k[:, :, 64:] = 80 / 32**0.5
    assert most_left_out(q, k, torch.tensor([-1.0])) <= tolerance(torch.float32)


def test_what_a_later_key_holds_changes_no_bit_of_a_row() -> None:
    q, k = draw_qk(200)
    before = answer(q, k, k, alibi_slopes(HEADS))
    k[:, :, 150:] = 1e30
    assert torch.equal(answer(q, k, k, alibi_slopes(HEADS))[:, :, :150], before[:, :, :150])


def test_heads_of_large_models_leave_out_what_they_can() -> None:
    q, k = draw_qk(2000)
    share = density(spec_for(q, k), q, k, k, torch.tensor([0.5, 0.5, 2.0**-8, 0.0]))
    seen = visited_keys(q, k, torch.tensor([0.5, 0.5, 2.0**-8, 0.0]))[:, :, -1].sum(dim=-1)
    assert (seen[:, :2] <= 200).all()
    assert (seen[:, 2:] == 2000).all()
    assert 0.5 < share < 0.6


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
def test_density_is_1_where_norms_are_huge(*, causal: bool) -> None:
    q, k = draw_qk(500, size=100)
    spec = replace(spec_for(q, k), causal=causal)
    assert density(spec, q, k, k, alibi_slopes(HEADS)) == 1


@pytest.mark.parametrize("outlier", [0, 999])
def test_an_outlier_key_widens_no_window_on_the_other_side(outlier: int) -> None:
    q, k = draw_qk(1000)
    slopes, there = alibi_slopes(HEADS), torch.arange(1000) > 500
    other = there if outlier == 0 else ~there
    plain = visited_keys(q, k, slopes, causal=False)
    k[:, :, outlier] *= 40
    seen = visited_keys(q, k, slopes, causal=False)
    assert not (seen & ~plain)[:, :, 448:512, other].any()
    assert seen[:, :, 448:512, outlier].any(dim=-1).all()


def test_rows_that_fill_up_a_block_look_no_further_than_the_last_query() -> None:
    q, k = torch.ones(1, 1, 20, 32), -torch.ones(1, 1, 1900, 32)
    k[:, :, -20:] = 5.0
    seen = visited_keys(q, k, torch.tensor([2.0**-5]))[0, 0, -1].sum()
    assert seen < 400


def test_a_row_whose_own_keys_are_out_of_the_question_has_the_others() -> None:
    q, k = torch.ones(1, 1, 200, 32), torch.zeros(1, 1, 200, 32)
    k[:, :, 128:] = -math.inf
    v = torch.randn(1, 1, 200, 32)
    found, wanted = (attention(q, k, v, torch.tensor([0.1])) for attention in (answer, truth))
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)

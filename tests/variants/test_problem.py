"""The slopes are those of the paper's published code, for any number of heads."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from variants.problem import alibi_slopes


@pytest.mark.parametrize("heads", [1, 2, 4, 8, 16, 32, 64, 128])
def test_a_power_of_two_gives_a_geometric_sequence_down_to_two_to_the_minus_eight(
    heads: int,
) -> None:
    expected = [2.0 ** (-8 * (head + 1) / heads) for head in range(heads)]
    assert alibi_slopes(heads).tolist() == torch.tensor(expected).tolist()
    assert alibi_slopes(heads)[-1] == 2.0**-8


def test_eight_heads_have_the_slopes_of_the_paper() -> None:
    assert alibi_slopes(8).tolist() == [
        1 / 2,
        1 / 4,
        1 / 8,
        1 / 16,
        1 / 32,
        1 / 64,
        1 / 128,
        1 / 256,
    ]


def test_twelve_heads_are_those_of_eight_and_then_every_other_one_of_sixteen() -> None:
    exponents = [1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5]
    assert alibi_slopes(12).tolist() == torch.tensor([2.0**-e for e in exponents]).tolist()


def test_three_heads_are_those_of_two_and_then_the_first_of_four() -> None:
    assert alibi_slopes(3).tolist() == [2.0**-4, 2.0**-8, 2.0**-2]


def test_bias_max_replaces_the_eight_in_the_exponent() -> None:
    assert alibi_slopes(4, bias_max=16).tolist() == [2.0**-4, 2.0**-8, 2.0**-12, 2.0**-16]
    assert alibi_slopes(3, bias_max=16).tolist() == [2.0**-8, 2.0**-16, 2.0**-4]


@settings(deadline=None)
@given(heads=st.integers(1, 256), bias_max=st.sampled_from([8.0, 16.0]))
def test_any_number_of_heads_gives_that_many_positive_slopes_below_one(
    heads: int, bias_max: float
) -> None:
    slopes = alibi_slopes(heads, bias_max)
    assert slopes.shape == (heads,)
    assert slopes.dtype == torch.float32
    assert ((slopes > 0) & (slopes < 1)).all()
    assert len(set(slopes.tolist())) == heads


@pytest.mark.parametrize("heads", [0, -4])
def test_no_heads_have_no_slopes(heads: int) -> None:
    with pytest.raises(ValueError, match=f"heads {heads}: a head count is at least 1"):
        alibi_slopes(heads)


@pytest.mark.parametrize("bias_max", [0.0, -8.0, 127.0, float("inf"), float("nan")])
def test_a_bias_max_that_leaves_no_bias_is_refused(bias_max: float) -> None:
    with pytest.raises(ValueError, match=f"^bias_max {bias_max}: give over 0, at most 126.0$"):
        alibi_slopes(8, bias_max)


@pytest.mark.parametrize(("heads", "offset", "total"), [(8, 16, 32), (3, 9, 12), (12, 0, 12)])
def test_a_shard_has_its_part_of_all_slopes(heads: int, offset: int, total: int) -> None:
    shard = alibi_slopes(heads, 16.0, head_offset=offset, total_heads=total)
    assert torch.equal(shard, alibi_slopes(total, 16.0)[offset : offset + heads])


@pytest.mark.parametrize(("heads", "offset", "total"), [(8, 25, 32), (8, -1, 32), (8, 1, None)])
def test_a_shard_outside_of_the_model_is_refused(heads: int, offset: int, total: int) -> None:
    with pytest.raises(ValueError, match=f"heads 8 from head_offset {offset} on: there are"):
        alibi_slopes(heads, head_offset=offset, total_heads=total)

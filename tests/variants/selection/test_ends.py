"""The lengths by which a length that was not measured is judged: around it, or on its one side."""

import pytest

from tests.variants.selections import a_choice
from variants.selection.interpolation import ends_of


def ends_at(length: int, *measured: int) -> tuple[int, ...]:
    """Return the lengths of the ends, of a family measured at these lengths."""
    family = [a_choice({"eager": 1.0}, each) for each in measured]
    return tuple(one.problem.kv_len for one in ends_of(family, length))


@pytest.mark.parametrize(
    ("length", "ends"),
    [(700, (512, 1024)), (64, (128,)), (8192, (1024, 4096)), (1024, (1024,))],
)
def test_of_many_lengths_the_nearest_are_looked_at(length: int, ends: tuple[int, ...]) -> None:
    assert ends_at(length, 128, 512, 1024, 4096) == ends


def test_one_length_is_its_own_end_on_either_side() -> None:
    assert ends_at(700, 512) == ends_at(300, 512) == (512,)


def test_between_two_lengths_however_close_both_are_looked_at() -> None:
    assert ends_at(1005, 500, 1000, 1010, 2000) == (1000, 1010)


def test_no_line_is_followed_beyond_two_lengths_that_lie_close_together() -> None:
    assert ends_at(9000, 1000, 1001) == (1001,)
    assert ends_at(9000, 400, 500, 1000, 1001) == (500, 1001)


def test_below_the_shortest_length_it_is_looked_at_alone() -> None:
    assert ends_at(10, 1000, 1001, 1999, 2001) == (1000,)


def test_another_length_where_none_of_the_same_ran_is_passed_over() -> None:
    a, b = {"eager": 1.0}, {"flex": 1.0}
    family = [a_choice(b, 300), a_choice(a, 500), a_choice(b, 1000), a_choice(b, 1001)]
    assert [one.problem.kv_len for one in ends_of(family, 9000)] == [300, 1001]
    assert [one.problem.kv_len for one in ends_of(family[1:], 9000)] == [1001]

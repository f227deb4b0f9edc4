"""What was typed is read, or refused in one line that says what to type instead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.cases.parse import (
    LEAST_PAIRS,
    MOST_PAIRS,
    name,
    pairs,
    seconds,
    share,
    words,
)
from suite.failures import BadRequest


@pytest.mark.parametrize(
    ("text", "value"), [("90s", 90), ("8m", 480), ("1h", 3600), ("0.5s", 0.5), ("1.5h", 5400)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, value: float) -> None:
    assert seconds("--step-timeout", text) == value


@pytest.mark.parametrize("text", ["", "m", "5", "5 parsecs", "-5s", "nans", "infh", "8d", "200h"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(BadRequest, match="90s, 8m or 1h"):
        seconds("--step-timeout", text)


@pytest.mark.parametrize(("text", "value"), [("5%", 0.05), ("0.5%", 0.005), ("99%", 0.99)])
def test_a_share_is_a_percentage(text: str, value: float) -> None:
    assert share("--gate", text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "%", "5", "0%", "100%", "-5%", "nan%", "inf%", "five%"])
def test_anything_else_is_no_share(text: str) -> None:
    with pytest.raises(BadRequest, match=f"--gate {text}: give a share such as 5%, below 100%"):
        share("--gate", text)


def test_a_slowdown_may_be_more_than_all_of_a_time() -> None:
    assert share("--inject", "400%", below=10.0) == 4.0
    with pytest.raises(BadRequest, match="such as 5%, below 1000%"):
        share("--inject", "1000%", below=10.0)


@given(st.integers())
def test_pairs_are_as_many_as_statistics_can_use(number: int) -> None:
    if LEAST_PAIRS <= number <= MOST_PAIRS:
        assert pairs(number) == number
    else:
        with pytest.raises(BadRequest, match=f"--pairs {number}: give at least"):
            pairs(number)


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1))
def test_a_list_keeps_its_order_and_each_word_once(asked: list[str]) -> None:
    assert words("--x", " , ".join(asked)) == list(dict.fromkeys(asked))


def test_the_nearest_name_is_suggested_among_all() -> None:
    with pytest.raises(BadRequest, match="--x flx: no such name; did you mean flex\\? There are"):
        name("--x", "flx", ["eager", "flex"])

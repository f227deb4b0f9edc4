"""Which rows are checked: all of a short case, and enough of a long one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.agreement.judge import rows_to_check
from tests.suite.answers import (
    CPU,
    attention_with_groups,
    budget_check,
    case_of,
    change_at,
    spoil,
    variant,
    with_half_a_window,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("q_len", [1, 37, 512])
def test_every_row_of_a_short_case_is_checked(q_len: int) -> None:
    assert rows_to_check(q_len, 0, CPU).tolist() == list(range(q_len))


@settings(deadline=None)
@given(q_len=st.integers(1, 5000), seed=st.integers(0, 2**40))
def test_checked_rows_are_sorted_unique_enough_in_number_and_always_the_same(
    q_len: int, seed: int
) -> None:
    rows = rows_to_check(q_len, seed, CPU).tolist()
    assert rows == sorted(set(rows))
    assert len(rows) >= min(q_len, 256)
    assert {0, q_len - 1} <= set(rows) <= set(range(q_len))
    assert rows == rows_to_check(q_len, seed, CPU).tolist()


def test_both_sides_of_every_tile_edge_are_checked() -> None:
    rows = set(rows_to_check(700, 0, CPU).tolist())
    assert all({edge - 1, edge} <= rows for edge in range(64, 700, 64))


def test_many_tile_edges_of_a_very_long_case_are_checked() -> None:
    rows = set(rows_to_check(100_000, 0, CPU).tolist())
    edges = [edge for edge in range(64, 100_000, 64) if {edge - 1, edge} <= rows]
    assert len(edges) >= 64
    assert max(edges) - min(edges) > 50_000


def test_another_seed_checks_other_rows() -> None:
    assert rows_to_check(4000, 0, CPU).tolist() != rows_to_check(4000, 1, CPU).tolist()


@pytest.mark.parametrize(
    ("mode", "dtype"),
    [
        ("forward", "bfloat16"),
        ("backward", "float32"),
        pytest.param("forward", "float32", marks=pytest.mark.heavy),
        pytest.param("forward", "float16", marks=pytest.mark.heavy),
        pytest.param("backward", "bfloat16", marks=pytest.mark.heavy),
        pytest.param("backward", "float16", marks=pytest.mark.heavy),
    ],
)
def test_a_long_case_is_checked_rightly_on_a_part_of_its_rows(mode: str, dtype: str) -> None:
    case = case_of(dtype=dtype, mode=mode, q_len=700, kv_len=800, heads=4, kv_heads=2)
    for name in ("eager", "sdpa_mask"):
        found = budget_check(variant(name, case), case)
        assert found.agrees, found
    assert budget_check(attention_with_groups(with_half_a_window, case), case).excess >= 4


def test_a_wrong_row_of_a_long_case_is_named_by_its_place_among_the_queries() -> None:
    case = case_of(q_len=700, kv_len=700, heads=2, kv_heads=2)
    change = change_at((0, 1, 699), lambda values: values * 1.5)
    found = budget_check(spoil(change, case), case)
    assert not found.agrees
    assert found.where == "out, batch 0 head 1 row 699"

"""A run within a budget takes the telling cases first and leaves time for its later passes."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.cases.case import Case
from suite.cases.plan import Plan
from suite.race.schedule import Schedule, coverage_order


def case(length: int, heads: int = 8) -> Case:
    return Case(
        heads=heads, kv_heads=heads, head_dim=64, q_len=length, kv_len=length, dtype="float32"
    )


def plan(cases: Sequence[Case], passes: int = 3) -> Plan:
    return Plan(tuple(cases), ("no_bias",), passes, 0, 60.0)


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def race_counts(
    cases: Sequence[Case], budget_s: float, first_s: float, later_s: float, start_s: float = 0.0
) -> list[int]:
    """Return how many races each pass had, where a first race costs more than a later one."""
    clock = Clock()
    schedule = Schedule(plan(cases), budget_s, clock)
    raced = [0, 0, 0]
    for number in (1, 2, 3):
        clock.now_s += start_s
        schedule.note_start(start_s)
        for each in schedule.order(number, list(cases)):
            if schedule.has_time_for(each, number):
                took_s = first_s if number == 1 else later_s
                clock.now_s += took_s
                schedule.note_race(each, took_s, took_s - later_s)
                raced[number - 1] += 1
    assert clock.now_s <= budget_s
    return raced


def test_the_middle_length_comes_first_then_the_middles_of_its_halves() -> None:
    lengths = (512, 1024, 2048, 4096, 8192, 16384, 32768)
    assert [one.kv_len for one in coverage_order([case(n) for n in lengths])] == [
        4096,
        1024,
        16384,
        512,
        2048,
        8192,
        32768,
    ]


@pytest.mark.parametrize("changes", [{}, {"norms": True}, {"layout": "paged"}])
def test_steps_of_decode_have_a_row_whatever_their_cache(changes: dict[str, Any]) -> None:
    cases = [
        msgspec.structs.replace(case(n), mode="decode", q_len=1, **changes)
        for n in (512, 1024, 2048)
    ]
    assert [one.kv_len for one in coverage_order(cases)] == [1024, 512, 2048]


def test_rows_that_differ_in_more_than_length_take_turns() -> None:
    cases = [case(n, heads) for heads in (8, 12) for n in (512, 1024, 2048)]
    found = [(one.kv_len, one.heads) for one in coverage_order(cases)]
    assert found == [(1024, 8), (1024, 12), (512, 8), (512, 12), (2048, 8), (2048, 12)]


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(1, 3)), unique=True))
def test_telling_loses_and_doubles_no_case(asked: list[tuple[int, int]]) -> None:
    cases = [case(length, heads) for length, heads in asked]
    assert sorted(one.id for one in coverage_order(cases)) == sorted(one.id for one in cases)


def test_without_a_budget_there_is_always_time_and_every_pass_has_an_order_of_its_own() -> None:
    cases = [case(n) for n in range(1, 30)]
    schedule = Schedule(plan(cases), None)
    orders = [schedule.order(number, cases) for number in (1, 2, 3)]
    assert all(schedule.has_time_for(one, 1) for one in cases)
    assert len({tuple(one.id for one in order) for order in orders}) == 3
    assert all(set(order) == set(cases) for order in orders)


@pytest.mark.parametrize("budget_s", [60.0, 100.0, 200.0, 400.0])
def test_every_case_that_the_first_pass_begins_is_in_all_passes(budget_s: float) -> None:
    cases = [case(n) for n in range(1, 15)]
    raced = race_counts(cases, budget_s, first_s=12.0, later_s=3.0, start_s=5.0)
    assert raced[0] == raced[1] == raced[2] > 0


def test_a_budget_is_used_and_not_split_evenly_between_cold_and_warm_passes() -> None:
    raced = race_counts([case(n) for n in range(1, 40)], 300.0, first_s=12.0, later_s=3.0)
    assert raced[0] * (12 + 3 + 3) > 0.85 * 300


def test_a_budget_that_holds_everything_leaves_nothing_out() -> None:
    cases = [case(n) for n in range(1, 6)]
    assert race_counts(cases, 10_000.0, first_s=12.0, later_s=3.0) == [5, 5, 5]


def test_a_resumed_run_whose_first_pass_is_whole_still_races_the_others() -> None:
    clock = Clock()
    schedule = Schedule(plan([case(1)]), 10.0, clock)
    assert schedule.has_time_for(case(1), 2)
    clock.now_s = 11.0
    assert not schedule.has_time_for(case(1), 2)


@given(
    budget_s=st.floats(1, 1000),
    first_s=st.floats(1, 60),
    share=st.floats(0.05, 1),
    n=st.integers(1, 30),
)
def test_a_budget_is_overrun_by_no_more_than_the_first_race(
    budget_s: float, first_s: float, share: float, n: int
) -> None:
    clock = Clock()
    cases = [case(length) for length in range(1, n + 1)]
    schedule = Schedule(plan(cases), budget_s, clock)
    for number in (1, 2, 3):
        for each in schedule.order(number, cases):
            if schedule.has_time_for(each, number):
                took_s = first_s if number == 1 else share * first_s
                clock.now_s += took_s
                schedule.note_race(each, took_s, took_s - share * first_s)
    assert clock.now_s <= max(budget_s, first_s) + 1e-6

"""The conditions of a run stand above its table; runs of other conditions have one of their own."""

import re
from collections.abc import Sequence

import msgspec
import pytest

from reports.tables.table import TableFormat
from suite.records.record import Record
from suite.records.store import Results
from tests.records import (
    a_canary,
    a_case,
    a_check,
    a_machine,
    a_plan,
    a_run,
    a_time,
    measured,
    results,
)
from tests.reports.tabled import cells_of, of_all_kinds, table


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_the_conditions_are_told_above_the_table(layout: TableFormat) -> None:
    first = table(layout, of_all_kinds()).splitlines()[0]
    for words in (
        "Invented CPU, 2 cores",
        "torch 2.13.0",
        "2 threads",
        "commit 000000000000",
        "3 passes",
        "(1024 x 1024 float32 product) 7.0 ms",
    ):
        assert words in first
    assert "triton" not in first


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_each_group_has_conditions_and_a_table_of_its_own(layout: TableFormat) -> None:
    case = a_case()
    here = results(a_machine(a_plan(case)), *measured(case, "eager"))
    there = results(a_machine(a_plan(case), torch="2.11.0"), *measured(case, "eager", 2.0))
    text = table(layout, here, there)
    assert text.count("torch 2.13.0") == text.count("torch 2.11.0") == 1
    assert cells_of(text).count(("512", "float32", "forward", "eager")) == 2
    assert len(re.findall("fastest that agrees", text)) == 2


def test_conditions_of_a_run_without_a_canary_leave_it_out() -> None:
    first = table("simple", results(a_machine())).splitlines()[0]
    assert "  " not in first
    assert "canary" not in first


CALM = (1.0, 1.01, 0.99)


def caution_of(file: Results) -> str:
    """Return the line of caution above a table, or an empty text."""
    lines = [line for line in table("simple", file).splitlines() if line.startswith("Take care")]
    assert len(lines) <= 1
    return lines[0] if lines else ""


def test_a_calm_run_of_three_passes_calls_for_no_caution() -> None:
    assert caution_of(a_run({"no_bias": CALM, "eager": CALM}, canaries=(6.0, 6.5, 7.1))) == ""


@pytest.mark.parametrize(
    ("canaries", "words"),
    [
        ((6.6, 40.0, 240.0), "Take care: the canary moved by 36.36x, from 6.6 to 240.0 ms"),
        ((6.0, 6.0, 7.3), "Take care: the canary moved by 1.22x, from 6.0 to 7.3 ms"),
    ],
)
def test_a_canary_that_moved_by_over_a_fifth_is_told(canaries: Sequence[float], words: str) -> None:
    assert caution_of(a_run({"no_bias": CALM, "eager": CALM}, canaries=canaries)) == words


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("disturbed", "7 turns disturbed by other processes, in 1 of 2 cells"),
        ("throttled", "7 turns slowed by heat or a power brake, in 1 of 2 cells"),
    ],
)
def test_turns_that_were_repeated_are_counted(field: str, words: str) -> None:
    case = a_case()
    slowed = msgspec.structs.replace(a_time(case, "eager", pass_number=4), **{field: 7})
    file = a_run({"no_bias": CALM, "eager": CALM}, slowed)
    assert caution_of(file) == f"Take care: {words}"


def test_cells_without_an_interval_are_counted() -> None:
    assert caution_of(a_run({"no_bias": CALM[:2], "eager": CALM[:2]})) == (
        "Take care: no cell has an interval, which takes 3 passes"
    )
    assert caution_of(a_run({"no_bias": CALM, "eager": CALM[:2]})) == (
        "Take care: 1 of 2 cells lack an interval, which takes 3 passes"
    )


def test_everything_to_take_care_of_stands_in_one_line() -> None:
    case = a_case()
    records: list[Record] = [a_canary(1, 40.0), a_canary(1, 240.0)]
    for variant, by_round in {"no_bias": [15.9] * 3 + [0.286] * 6, "eager": [27.7] * 3}.items():
        time = msgspec.structs.replace(a_time(case, variant, by_round), disturbed=2)
        records += [a_check(case, variant), time]
    text = table(
        "simple", results(a_machine(a_plan(case, variants=["no_bias", "eager"])), *records)
    )
    assert text.splitlines()[2] == (
        "Take care: 4 turns disturbed by other processes, in 2 of 2 cells; the canary moved by "
        "6.00x, from 40.0 to 240.0 ms; no cell has an interval, which takes 3 passes; 1 of 2 cells "
        "too noisy to rank"
    )
    assert "too noisy: eager" in text

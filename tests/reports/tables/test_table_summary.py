"""The summary under a table names the fastest that agrees, and whatever is tied with it."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from reports.tables.table import TableFormat
from suite.cases.case import Case
from suite.records.record import CellRecord
from suite.records.store import Results
from tests.records import a_case, a_check, a_fault, a_machine, a_plan, measured, results
from tests.reports.tabled import summary_of, table


def two_dtypes(modes: Sequence[Any] = ("forward",)) -> Results:
    """Return a file with a winner in float32 and none that agrees in bfloat16."""
    records: list[CellRecord] = []
    cases = []
    for mode in modes:
        right, wrong = a_case(512, "float32", mode), a_case(512, "bfloat16", mode)
        cases += [right, wrong]
        for number in (1, 2, 3):
            records += measured(right, "no_bias", 2.0, number)
            records += measured(right, "eager", 6.0, number)
            records += measured(right, "flex", 3.0, number)
            records += measured(wrong, "no_bias", 2.0, number)
        records += [
            a_check(wrong, "eager", error=1.0),
            a_check(wrong, "flex", stage="after", error=1.0),
        ]
    return results(a_machine(a_plan(*cases, passes=3)), *records)


@pytest.mark.parametrize("layout", ["simple", "github"])
def test_the_summary_names_the_fastest_and_none_where_nothing_agrees(layout: TableFormat) -> None:
    assert summary_of(table(layout, two_dtypes())) == {("512", "forward"): "flex 1.50x none"}


def test_the_summary_has_a_line_for_each_length_and_mode() -> None:
    found = summary_of(table("simple", two_dtypes(["forward", "backward"])))
    assert set(found) == {("512", "forward"), ("512", "backward")}


def test_the_summary_never_names_the_baseline() -> None:
    case = a_case()
    records = [*measured(case, "no_bias", 0.5), a_fault(case, "eager")]
    file = results(a_machine(a_plan(case, variants=["no_bias", "eager"])), *records)
    assert summary_of(table("simple", file)) == {("512", "forward"): "none"}


def test_the_summary_names_all_that_are_tied() -> None:
    case = a_case()
    records: list[CellRecord] = []
    for number, ms in enumerate((2.1, 1.95, 2.08), start=1):
        records += measured(case, "no_bias", 1.0, number)
        records += measured(case, "flex", 2.0, number)
        records += measured(case, "eager", ms, number)
    text = table("simple", results(a_machine(a_plan(case, passes=3)), *records))
    assert summary_of(text) == {("512", "forward"): "flex 2.00x = eager"}
    assert "2 (tied with 1)" in text


def test_a_tie_that_reaches_far_is_said_to_be_noise() -> None:
    case = a_case()
    records: list[CellRecord] = []
    for number, ms in enumerate((2.0, 3.0, 2.2), start=1):
        records += measured(case, "no_bias", 1.0, number)
        records += measured(case, "flex", 2.0, number)
        records += measured(case, "eager", ms, number)
    text = table("simple", results(a_machine(a_plan(case, passes=3)), *records))
    assert summary_of(text) == {("512", "forward"): "flex 2.00x = eager?"}
    assert "2 (too noisy to tell from 1)" in text


def test_a_run_with_nothing_measured_yet_has_no_fastest() -> None:
    text = table("simple", results(a_machine(a_plan(a_case()))))
    assert "fastest" not in text
    assert "not measured yet" in text


def test_cases_that_differ_in_logit_scale_have_a_winner_each() -> None:
    plain = a_case()
    other: Case = msgspec.structs.replace(plain, logit_scale=4.0)
    records = [
        *measured(plain, "eager", 2.0),
        *measured(plain, "flex", 4.0),
        *measured(other, "eager", 4.0),
        *measured(other, "flex", 2.0),
    ]
    text = table("simple", results(a_machine(a_plan(plain, other)), *records))
    summaries = "".join(text.split("fastest that agrees")[1:])
    assert "eager" in summaries
    assert "flex" in summaries


def test_a_case_that_nobody_planned_is_not_called_lost() -> None:
    short, long = a_case(512, "float32"), a_case(1024, "bfloat16")
    records = [*measured(short, "flex"), *measured(long, "flex")]
    text = table("simple", results(a_machine(a_plan(short, long, variants=["flex"])), *records))
    assert "none" not in "".join(summary_of(text).values())

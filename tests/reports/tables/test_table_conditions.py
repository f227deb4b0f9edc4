"""The conditions of a run stand above its table; runs of other conditions have one of their own."""

import re

import pytest

from reports.tables.table import TableFormat
from tests.records import a_case, a_machine, a_plan, measured, results
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

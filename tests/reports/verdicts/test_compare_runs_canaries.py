"""Times are divided by their pass's canary where the machine's speed moved, and that is told."""

from collections.abc import Sequence

import pytest

from reports.pull_request.comment import comment
from reports.verdicts.verdict_table import render
from suite.records.record import Record
from tests.records import a_canary, a_case, a_cell, a_machine, a_run, results
from tests.reports.comparisons import STEADY, compare, line_of, times

CASE = a_case()
CALM, SLOW = (7.0, 7.1, 6.9), (9.1, 9.2, 9.0)
SLOWER = (
    "the canary got 30.0% slower from base to head: the machine's speed changed. Times are divided "
    "by each pass's canary; measure both again, or use `ab`, whose sides take turns"
)


def test_a_machine_that_got_slower_is_no_regression_and_is_told() -> None:
    base = a_run({"eager": STEADY}, canaries=CALM)
    found = compare(base, a_run({"eager": times(1.3)}, canaries=SLOW))
    assert line_of(found).ratio == pytest.approx(1.0, rel=1e-3)
    assert not found.regressed
    assert found.notes == [SLOWER]


def test_a_regression_does_not_pass_on_a_machine_that_got_faster() -> None:
    base = a_run({"eager": STEADY}, canaries=SLOW)
    found = compare(base, a_run({"eager": STEADY}, canaries=CALM))
    assert line_of(found).verdict == "slower"
    assert line_of(found).ratio == pytest.approx(1.3, rel=1e-3)
    assert found.notes[0].startswith("the canary got 23.1% faster from base to head: the machine")


def test_each_pass_is_divided_by_its_own_canary() -> None:
    base = a_run({"eager": (1.0, 2.0, 4.0)}, canaries=(7.0, 14.0, 28.0))
    head = a_run({"eager": (5.2, 1.3, 2.6)}, canaries=(28.0, 7.0, 14.0))
    found = compare(base, head)
    assert line_of(found).verdict == "slower"
    assert line_of(found).ratio == pytest.approx(1.3, rel=1e-3)
    assert found.notes == [
        "times are divided by each pass's canary, as those of two passes differ by over 5%: "
        "large changes show, and `ab` sees small ones"
    ]


def test_canaries_that_hardly_moved_are_left_alone() -> None:
    base = a_run({"eager": STEADY}, canaries=(7.0, 7.1, 7.2))
    head = a_run({"eager": times(1.3)}, canaries=(7.3, 7.3, 7.3))
    found = compare(base, head)
    assert line_of(found).ratio == pytest.approx(1.3, rel=1e-3)
    assert found.notes == []


def test_canaries_of_other_software_divide_nothing_and_their_move_is_told() -> None:
    base = a_run({"eager": STEADY}, canaries=CALM, header=a_machine(torch="2.12.0"))
    found = compare(base, a_run({"eager": times(1.3)}, canaries=SLOW), across=("software",))
    assert line_of(found).ratio == pytest.approx(1.3, rel=1e-3)
    assert found.notes[0].endswith("or the other software did this. No time is divided by it")


def test_where_a_pass_lacks_its_canary_no_time_is_divided_and_the_move_is_told() -> None:
    base = a_run({"eager": STEADY}, canaries=CALM)
    found = compare(base, a_run({"eager": times(1.3)}, canaries=(9.1, 9.1)))
    assert line_of(found).ratio == pytest.approx(1.3, rel=1e-3)
    assert found.notes[0].endswith("A pass lacks its canary, so no time is divided by it; use `ab`")


@pytest.mark.parametrize("canaries", [(), (7.0, 7.1)], ids=["none", "one too few"])
def test_where_a_canary_is_lacking_no_time_is_divided(canaries: Sequence[float]) -> None:
    base = a_run({"eager": STEADY}, canaries=(7.0, 7.0, 7.4))
    found = compare(base, a_run({"eager": times(1.3)}, canaries=canaries))
    assert line_of(found).ratio == pytest.approx(1.3, rel=1e-3)
    assert found.notes == []


def test_the_parts_of_a_resumed_pass_are_divided_by_a_canary_each() -> None:
    base = a_run({"eager": STEADY, "flex": STEADY}, canaries=(7.0,) * 3)
    records: list[Record] = []
    for number, each in enumerate(STEADY, start=1):
        records += [a_canary(number, 7.0), *a_cell(CASE, "eager", each, number)]
        records += [a_canary(number, 9.1), *a_cell(CASE, "flex", 1.3 * each, number)]
    found = compare(base, results(a_machine(), *records))
    for name in ("eager", "flex"):
        assert line_of(found, name).ratio == pytest.approx(1.0, rel=1e-3)


def test_the_move_is_said_above_the_table_and_in_the_comment_of_a_pull_request() -> None:
    base = a_run({"eager": STEADY}, canaries=CALM)
    found = compare(base, a_run({"eager": times(1.3)}, canaries=SLOW))
    assert " ".join(render(found, "simple").split("\n\n")[1].split()) == SLOWER
    assert SLOWER in comment(found, None).partition("<details>")[0]

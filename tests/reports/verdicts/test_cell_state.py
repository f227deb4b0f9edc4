"""Times are divided by their pass's canary where the machine's own speed moved, and only there."""

from collections.abc import Sequence

import pytest

from suite.records.record import Record
from tests.records import a_canary, a_case, a_machine, a_run, measured, results
from tests.reports.compared import STEADY, by, compared, line_of

CASE = a_case()


def test_times_are_divided_by_canaries_that_moved() -> None:
    base = a_run({"eager": STEADY}, canaries=(7.0, 7.0, 7.0))
    head = a_run({"eager": by(1.3)}, canaries=(9.1, 9.1, 9.1))
    found = compared(base, head)
    assert line_of(found).ratio == pytest.approx(1.0, rel=1e-3)
    assert not found.regressed
    assert found.notes == ["times divided by each pass's canary, which moved by over 5%"]


def test_each_pass_is_divided_by_its_own_canary() -> None:
    base = a_run({"eager": (1.0, 2.0, 4.0)}, canaries=(7.0, 14.0, 28.0))
    head = a_run({"eager": (5.2, 1.3, 2.6)}, canaries=(28.0, 7.0, 14.0))
    found = compared(base, head)
    assert line_of(found).verdict == "slower"
    assert line_of(found).ratio == pytest.approx(1.3, rel=1e-3)


def test_canaries_that_hardly_moved_are_left_alone() -> None:
    base = a_run({"eager": STEADY}, canaries=(7.0, 7.1, 7.2))
    head = a_run({"eager": by(1.3)}, canaries=(7.3, 7.3, 7.3))
    found = compared(base, head)
    assert line_of(found).ratio == pytest.approx(1.3, rel=1e-3)
    assert found.notes == []


def test_canaries_of_other_software_divide_nothing() -> None:
    base = a_run({"eager": STEADY}, canaries=(7.0,) * 3, header=a_machine(torch="2.12.0"))
    head = a_run({"eager": by(1.3)}, canaries=(9.1,) * 3)
    found = compared(base, head, across=("software",))
    assert line_of(found).ratio == pytest.approx(1.3, rel=1e-3)
    assert not any("canary" in note for note in found.notes)


@pytest.mark.parametrize("canaries", [(), (9.1, 9.1)], ids=["none", "one too few"])
def test_where_a_canary_is_lacking_no_time_is_divided(canaries: Sequence[float]) -> None:
    base = a_run({"eager": STEADY}, canaries=(7.0, 7.0, 9.1))
    found = compared(base, a_run({"eager": by(1.3)}, canaries=canaries))
    assert line_of(found).ratio == pytest.approx(1.3, rel=1e-3)
    assert found.notes == []


def test_the_parts_of_a_resumed_pass_are_divided_by_a_canary_each() -> None:
    base = a_run({"eager": STEADY, "flex": STEADY}, canaries=(7.0,) * 3)
    records: list[Record] = []
    for number, each in enumerate(STEADY, start=1):
        records += [a_canary(number, 7.0), *measured(CASE, "eager", each, number)]
        records += [a_canary(number, 9.1), *measured(CASE, "flex", 1.3 * each, number)]
    found = compared(base, results(a_machine(), *records))
    for name in ("eager", "flex"):
        assert line_of(found, name).ratio == pytest.approx(1.0, rel=1e-3)

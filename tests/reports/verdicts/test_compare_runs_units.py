"""Two runs of different units of one hardware key are compared, and that is told."""

import msgspec

from reports.pull_request.comment import comment
from suite.records.record import RunHeader
from suite.records.store import Results
from tests.records import a_machine, a_plan, a_run
from tests.reports.comparisons import STEADY, compare, times


def on_unit(unit: str) -> RunHeader:
    """Return the header of a run on this unit."""
    header = a_machine(a_plan(variants=["eager"]))
    own = msgspec.structs.replace(header.circumstances, unit=unit)
    return msgspec.structs.replace(header, circumstances=own)


def run_on(unit: str, factor: float = 1.0) -> Results:
    return a_run({"eager": times(factor, STEADY)}, header=on_unit(unit))


def test_runs_of_two_units_are_told_to_be_of_two_machines() -> None:
    found = compare(run_on("1a2b"), run_on("3c4d", 1.3))
    assert found.notes == [
        "other units of this hardware measured base (1a2b) and head (3c4d): equal devices differ "
        "by some percent, and so may these times; measure both on one, or use `ab`"
    ]
    assert found.notes[0] in comment(found, None)


def test_runs_of_one_unit_or_of_unknown_ones_are_not() -> None:
    for base, head in (("1a2b", "1a2b"), ("", "3c4d"), ("1a2b", ""), ("", "")):
        assert compare(run_on(base), run_on(head)).notes == []


def test_a_file_that_two_units_completed_is_of_both() -> None:
    both = run_on("1a2b")
    both = both._replace(records=[*both.records, on_unit("3c4d")])
    (note,) = compare(both, run_on("3c4d")).notes
    assert "base (1a2b, 3c4d) and head (3c4d)" in note
    assert compare(both, both).notes == []

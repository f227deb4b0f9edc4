"""Of a cell that several commits measured only the newest counts, and nothing else is lost."""

import pytest

from reports.tables.cells import fold
from reports.tables.newest import groups_of_newest, newest
from reports.tables.row import Row
from suite.records.record import Record
from suite.records.store import Results
from tests.records import a_case, a_cell, a_check, a_machine, a_plan, results

CASE = a_case()
OLD = a_machine(a_plan(CASE), commit="a" * 40, started="2026-01-01T00:00:00+00:00")
NEW = a_machine(a_plan(CASE), commit="b" * 40, started="2026-01-02T00:00:00+00:00")


def times(ms: dict[str, float], passes: int = 3) -> list[Record]:
    """Return the records of variants that take so many milliseconds in each pass."""
    return [
        record
        for number in range(1, passes + 1)
        for variant, each in ms.items()
        for record in a_cell(CASE, variant, each, number)
    ]


OLDER = results(OLD, *times({"no_bias": 1.0, "eager": 4.0, "flex": 3.0}))
NEWER = results(NEW, *times({"no_bias": 2.0, "eager": 2.0}))


def rows_of(*files: Results) -> dict[str, Row]:
    """Return the rows of files of any code, by variant."""
    (group,) = groups_of_newest(files)
    return {row.variant: row for row in group.rows}


@pytest.mark.parametrize("files", [(OLDER, NEWER), (NEWER, OLDER)], ids=["in order", "reversed"])
def test_a_variant_measured_by_two_commits_has_the_figures_of_the_newer(
    files: tuple[Results, Results],
) -> None:
    eager = rows_of(*files)["eager"]
    assert (eager.passes, eager.code) == (3, "commit bbbbbbbbbbbb")
    assert eager.time_ms == pytest.approx(2.0)
    assert eager.vs_no_bias == pytest.approx(1.0)


def test_a_variant_that_only_the_older_measured_keeps_its_figures_and_its_baseline() -> None:
    rows = rows_of(OLDER, NEWER)
    assert (rows["flex"].passes, rows["flex"].code) == (3, "commit aaaaaaaaaaaa")
    assert rows["flex"].vs_no_bias == pytest.approx(3.0)
    assert rows["no_bias"].passes == 6
    assert not any(row.contradictory for row in rows.values())


def test_a_cell_that_the_newer_began_and_did_not_finish_keeps_the_older_figures() -> None:
    begun = results(NEW, a_check(CASE, "eager"))
    assert rows_of(OLDER, begun)["eager"].code == "commit aaaaaaaaaaaa"


def test_what_the_newer_found_wrong_is_wrong() -> None:
    wrong = results(NEW, a_check(CASE, "eager", error=1.0))
    assert rows_of(OLDER, wrong)["eager"].status == "disagrees"


def test_cells_with_older_records_are_counted() -> None:
    assert newest([OLDER, NEWER]).older_cells == 1
    assert newest([OLDER]).older_cells == 0


def test_files_of_one_commit_are_added_up() -> None:
    files = newest([OLDER, OLDER._replace(records=list(OLDER.records))]).files
    assert {row.variant: row.passes for row in fold(files).rows} == {
        "no_bias": 6,
        "eager": 6,
        "flex": 6,
    }


def test_a_file_that_two_commits_wrote_is_taken_apart() -> None:
    both = results(OLD, *OLDER.records[1:], *NEWER.records)
    assert rows_of(both)["eager"].time_ms == pytest.approx(2.0)

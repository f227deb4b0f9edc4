"""Units of one hardware key are compared, and told apart in tables where they differ."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from reports.tables.cells import groups
from reports.tables.row import NOT_YET
from reports.tables.siblings import group_by_speed, siblings
from suite.cases.case import Case
from suite.records.record import Limit, RunHeader, Time
from suite.records.store import Results
from tests.records import a_canary, a_case, a_cell, a_limit, a_machine, a_plan, a_time, results

CASES = [a_case(256), a_case(512), a_case(1024)]


def on(unit: str, cases: Sequence[Case] = CASES) -> RunHeader:
    """Return the header of a run on a unit of the invented hardware key."""
    header = a_machine(a_plan(*cases, variants=["eager"]))
    return msgspec.structs.replace(
        header, circumstances=msgspec.structs.replace(header.circumstances, unit=unit)
    )


def a_file(
    unit: str, factor: float, canary_ms: float = 7.0, cases: Sequence[Case] = CASES
) -> Results:
    """Return the results of a unit whose calls take so many times a millisecond."""
    records = [record for case in cases for record in a_cell(case, "eager", factor)]
    file = results(on(unit, cases), a_canary(1, canary_ms), *records)
    return file._replace(path=Path(f"{unit or 'old'}.jsonl"))


def names(parts: Sequence[Sequence[Results]]) -> list[list[str]]:
    return [[file.path.stem for file in part] for part in parts]


def test_units_are_compared_by_the_cells_that_they_share() -> None:
    fast, slow = siblings([a_file("slow", 1.1), a_file("fast", 1.0, cases=CASES[:2])])
    assert (fast.unit, slow.unit) == ("fast", "slow")
    assert slow.pace / fast.pace == pytest.approx(1.1)
    assert slow.figures == 2


def test_units_that_share_no_cell_are_compared_by_the_limits_of_the_device() -> None:
    files = [a_file("fast", 1.0, cases=CASES[:1]), a_file("slow", 9.0, cases=CASES[1:])]
    faster = msgspec.structs.replace(a_limit(), flops_per_s=2.2e12, bytes_per_s=5.5e10)
    files[0].records.append(faster)
    files[1].records.append(a_limit())
    fast, slow = siblings(files)
    assert (fast.unit, slow.unit) == ("fast", "slow")
    assert slow.pace / fast.pace == pytest.approx(1.1)


def test_pairs_of_units_that_share_cells_among_themselves_alone_are_compared_by_limits() -> None:
    slow = [a_file(unit, 1.0, cases=CASES[:1]) for unit in ("a", "b")]
    fast = [a_file(unit, 1.0, cases=CASES[1:]) for unit in ("c", "d")]
    for file in slow:
        file.records.append(a_limit())
    for file in fast:
        faster = msgspec.structs.replace(a_limit(), flops_per_s=2.2e12, bytes_per_s=5.5e10)
        file.records.append(faster)
    assert names(group_by_speed([*slow, *fast])) == [["c", "d"], ["a", "b"]]


def test_units_that_a_chain_of_shared_cells_links_are_compared_by_cells() -> None:
    ends = [a_file(unit, 1.0, cases=cases) for unit, cases in (("a", CASES[:1]), ("c", CASES[2:]))]
    for file in (middle := a_file("b", 1.1), *ends):
        file.records.append(a_limit())
    *_, slowest = siblings([middle, *ends])
    assert slowest.unit == "b"


def test_cells_whose_cost_is_the_hosts_time_say_nothing_of_a_gpu() -> None:
    host_bound = msgspec.structs.replace(a_time(a_case(64), "eager", 50.0), cost="issue")
    files = [a_file("a", 1.0), a_file("b", 1.0)]
    files[0].records.append(host_bound)
    files[1].records.append(msgspec.structs.replace(host_bound, turns=((1, (1000, 1000)),)))
    assert [each.figures for each in siblings(files)] == [3, 3]


def test_a_unit_has_its_clocks_and_what_lowered_them() -> None:
    file = a_file("hot", 1.0)
    times = [record for record in file.records if isinstance(record, Time)]
    for low, time in zip((1500, 1200), times[:2], strict=True):
        hot = msgspec.structs.replace(
            time, sm_clock_mhz=(low, 1900), slowed_by=("thermal, driver",), throttled=2
        )
        file.records[file.records.index(time)] = hot
    (unit,) = siblings([file])
    assert (unit.sm_clock_mhz, unit.slowed_by) == ((1200, 1900), ("thermal, driver",))
    assert unit.throttled == 4


@pytest.mark.parametrize(
    ("factor", "canary_ms", "is_apart"),
    [
        pytest.param(1.02, 7.0, False, id="as near as two runs of one"),
        pytest.param(1.06, 7.0, True, id="further than the canary moved"),
        pytest.param(1.06, 7.6, False, id="no further than the canary moved"),
        pytest.param(1.06, 6.0, True, id="slower though its canary is faster"),
    ],
)
def test_units_are_told_apart_by_more_than_their_canaries_explain(
    factor: float, canary_ms: float, is_apart: bool
) -> None:
    parts = group_by_speed([a_file("a", 1.0), a_file("b", factor, canary_ms)])
    assert names(parts) == ([["a"], ["b"]] if is_apart else [["a", "b"]])


def test_an_outlier_has_a_table_of_its_own_and_the_others_share_one() -> None:
    files = [a_file("a", 1.0), a_file("b", 1.2), a_file("c", 1.01)]
    together, outlier = groups(files)
    assert (together.unit, outlier.unit) == ("a, c", "b")
    assert {row.unit for row in together.rows} == {"a, c"}
    assert [row.passes for row in together.rows] == [2, 2, 2]
    assert [row.time_ms for row in outlier.rows] == pytest.approx([1.2] * 3)


def test_units_that_are_equally_fast_share_a_table_that_names_none() -> None:
    (group,) = groups([a_file("a", 1.0), a_file("b", 1.01)])
    assert group.unit == ""


def test_files_from_before_units_were_recorded_stay_together() -> None:
    assert names(group_by_speed([a_file("", 1.0), a_file("", 1.5)])) == [["old", "old"]]


def test_a_file_that_another_unit_completed_counts_for_both() -> None:
    second = [*a_cell(CASES[2], "eager", 1.5), *a_cell(CASES[0], "eager", 1.5, 2)]
    file = a_file("a", 1.0, cases=CASES[:2])
    file.records.extend([on("b"), *second])
    first_group, second_group = groups([file])
    assert (first_group.unit, second_group.unit) == ("a", "b")
    assert second_group.rows[0].time_ms == pytest.approx(1.5)
    assert [row.case for row in first_group.rows] == [case.id for case in CASES[:2]]
    assert [row.case for row in second_group.rows] == [CASES[0].id, CASES[2].id]


def test_a_cell_that_no_unit_has_measured_is_still_to_be_measured() -> None:
    file = a_file("a", 1.0, cases=CASES[:2])
    header = on("a")  # plans a third case
    file = file._replace(header=header, records=[header, *file.records[1:]])
    file.records.extend([on("b"), *a_cell(CASES[0], "eager", 1.5, 2)])
    for group in groups([file]):
        assert (group.rows[-1].case, group.rows[-1].reason) == (CASES[2].id, NOT_YET)


def test_limits_of_one_dtype_alone_compare_nothing() -> None:
    files = [a_file("a", 1.0, cases=CASES[:1]), a_file("b", 3.0, cases=CASES[1:])]
    files[0].records.append(Limit(1, "float32", 1e12, 1e10))
    assert [each.figures for each in siblings(files)] == [0, 0]
    assert len(groups(files)) == 1

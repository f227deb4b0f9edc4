"""Every cell of a plan has a row, whatever became of it, and only what may be ranked is."""

from collections.abc import Sequence
from typing import Any

import pytest

from reports.tables.cells import groups
from reports.tables.row import NO_CHECK, Row
from suite.cases.case import Case
from suite.records.record import Agreement, CellRecord, Record, RunHeader, Status
from suite.records.store import Results
from tests.records import (
    VARIANTS,
    a_canary,
    a_case,
    a_cell,
    a_check,
    a_fault,
    a_machine,
    a_memory,
    a_plan,
    a_time,
    results,
)

CASE = a_case()
PASSES = (1, 2, 3)


def rows_of(*files: Results) -> dict[tuple[str, str], Row]:
    """Return the rows of files that are one group, by case and variant."""
    (group,) = groups(files)
    rows = {(row.case, row.variant): row for row in group.rows}
    assert len(rows) == len(group.rows)
    return rows


def race(
    ms: dict[str, Sequence[float]], case: Case = CASE, header: RunHeader | None = None
) -> Results:
    """Return a file in which each variant took so many milliseconds in each pass."""
    records: list[Record] = []
    for variant, by_pass in ms.items():
        for number, each in enumerate(by_pass, start=1):
            records += a_cell(case, variant, each, number)
    passes = max(map(len, ms.values()))
    return results(header or a_machine(a_plan(case, variants=list(ms), passes=passes)), *records)


def test_a_measured_cell_has_its_figures() -> None:
    row = rows_of(race({"no_bias": [2.0] * 3, "eager": [6.0] * 3}))[CASE.id, "eager"]
    assert row.status == "measured"
    assert row.reason is None
    assert row.time_ms == pytest.approx(6.0)
    assert row.time_ci_ms == pytest.approx((6.0, 6.0))
    assert row.vs_no_bias == pytest.approx(3.0)
    assert row.tflops == pytest.approx(2 * 8 * 512 * 512 * 64 / 6e-3 / 1e12, rel=0.01)
    assert (row.passes, row.samples) == (3, 30)
    assert (row.error, row.error_budget) == (1e-7, 1e-6)
    assert row.first_call_s == 0.5


def test_a_row_says_which_case_it_is() -> None:
    case = Case(
        heads=6, head_dim=16, q_len=3, kv_len=40, kv_heads=2, dtype="float16", batch=5, causal=False
    )
    row = rows_of(race({"no_bias": [1.0]}, case))[case.id, "no_bias"]
    assert (row.batch, row.heads, row.kv_heads, row.q_len, row.kv_len, row.head_dim) == (
        5, 6, 2, 3, 40, 16,
    )  # fmt: skip
    assert (row.dtype, row.mode, row.causal) == ("float16", "forward", False)


@pytest.mark.parametrize("passes", [1, 2])
def test_fewer_than_three_passes_give_a_figure_without_interval(passes: int) -> None:
    row = rows_of(race({"no_bias": [1.0] * passes, "eager": [2.0] * passes}))[CASE.id, "eager"]
    assert row.time_ms == pytest.approx(2.0)
    assert row.time_ci_ms is None
    assert row.vs_no_bias_ci is None
    assert not row.tied


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("before", "times its budget"),
        ("after", "on fresh inputs, after timing"),
        ("small", "in the small case that every variant is checked in"),
    ],
)
def test_a_cell_that_disagrees_in_one_pass_has_no_time(stage: Any, words: str) -> None:
    wrong = a_check(CASE, "eager", 2, stage=stage, error=8e-6)
    records: list[CellRecord] = [*a_cell(CASE, "no_bias"), *a_cell(CASE, "eager"), wrong]
    row = rows_of(results(a_machine(a_plan(CASE, passes=2)), *records))[CASE.id, "eager"]
    assert row.status == "disagrees"
    assert row.reason is not None
    assert row.reason.startswith("out, batch 0 head 3: error 8.0e-06, 8 times its budget")
    assert words in row.reason
    assert (row.time_ms, row.rank, row.tflops, row.vs_no_bias) == (None, None, None, None)
    assert row.error == 8e-6


def test_times_without_a_check_of_the_answers_have_no_rank() -> None:
    times = [record for record in a_cell(CASE, "eager") if not isinstance(record, Agreement)]
    row = rows_of(results(a_machine(a_plan(CASE)), *a_cell(CASE, "no_bias"), *times))[
        CASE.id, "eager"
    ]
    assert (row.status, row.reason, row.rank) == ("skipped", NO_CHECK, None)


def test_a_time_that_cannot_be_true_is_shown_and_not_ranked() -> None:
    fault = a_fault(CASE, "flex", status="implausible", reason="faster than the device")
    records = [*a_cell(CASE, "no_bias"), *a_cell(CASE, "eager"), *a_cell(CASE, "flex", 1e-4)]
    rows = rows_of(results(a_machine(a_plan(CASE)), *records, fault))
    row = rows[CASE.id, "flex"]
    assert (row.status, row.reason) == ("implausible", "faster than the device")
    assert row.time_ms == pytest.approx(1e-4)
    assert row.rank is None
    assert rows[CASE.id, "eager"].rank == 1


def test_a_cell_without_a_finite_error_says_so() -> None:
    wrong = a_check(CASE, "eager", error=None)
    row = rows_of(results(a_machine(), wrong))[CASE.id, "eager"]
    assert row.status == "disagrees"
    assert row.reason == "out, batch 0 head 3: no finite error"
    assert row.error is None


@pytest.mark.parametrize(
    "status", ["unsupported", "out_of_memory", "timed_out", "crashed", "failed"]
)
@pytest.mark.parametrize("number", PASSES)
def test_a_fault_in_one_pass_is_what_became_of_the_cell(status: Status, number: int) -> None:
    fault = a_fault(CASE, "eager", number, status=status, reason="so it was")
    records: list[CellRecord] = [fault, a_check(CASE, "eager", 3, error=1.0)]
    for other in PASSES:
        records += a_cell(CASE, "no_bias", 1.0, other)
        records += a_cell(CASE, "eager", 2.0, other) if other != number else []
    row = rows_of(results(a_machine(a_plan(CASE, passes=3)), *records))[CASE.id, "eager"]
    assert (row.status, row.reason) == (status, "so it was")
    assert (row.time_ms, row.rank) == (None, None)


def test_a_planned_cell_without_records_is_skipped_with_a_reason() -> None:
    other = a_case(1024)
    plan = a_plan(CASE, other, passes=2)
    rows = rows_of(results(a_machine(plan), a_canary(), *a_cell(CASE, "no_bias")))
    assert set(rows) == {(case.id, name) for case in (CASE, other) for name in VARIANTS}
    assert rows.pop((CASE.id, "no_bias")).status == "measured"
    for row in rows.values():
        assert row.status == "skipped"
        assert row.reason is not None
        assert "--resume" in row.reason
        assert row.time_ms is None


def test_a_check_alone_is_no_measurement() -> None:
    row = rows_of(results(a_machine(), a_check(CASE, "eager")))[CASE.id, "eager"]
    assert row.status == "skipped"
    assert row.error == 1e-7


def test_passes_that_are_still_to_come_do_not_hide_those_that_are_there() -> None:
    plan = a_plan(CASE, passes=5)
    row = rows_of(results(a_machine(plan), *a_cell(CASE, "flex", 4.0)))[CASE.id, "flex"]
    assert (row.status, row.passes) == ("measured", 1)
    assert row.time_ms == pytest.approx(4.0)


def test_variants_are_ranked_from_the_fastest_and_the_baseline_never_is() -> None:
    rows = rows_of(race({"no_bias": [1.0], "eager": [9.0], "flex": [2.0], "compile": [3.0]}))
    ranks = {variant: row.rank for (_, variant), row in rows.items()}
    assert ranks == {"no_bias": None, "eager": 3, "flex": 1, "compile": 2}
    assert rows[CASE.id, "no_bias"].vs_no_bias == pytest.approx(1.0)
    assert not rows[CASE.id, "no_bias"].tied


def test_what_is_wrong_or_failed_is_not_ranked_however_fast_it_was() -> None:
    records: list[CellRecord] = [
        *a_cell(CASE, "no_bias", 1.0),
        *a_cell(CASE, "eager", 5.0),
        a_time(CASE, "flex", 0.1),
        a_check(CASE, "flex", stage="after", error=1.0),
        a_time(CASE, "compile", 0.1),
        a_fault(CASE, "compile", status="crashed"),
    ]
    plan = a_plan(CASE, variants=[*VARIANTS, "compile"])
    rows = rows_of(results(a_machine(plan), *records))
    assert {variant: row.rank for (_, variant), row in rows.items() if row.rank} == {"eager": 1}


def test_each_case_is_ranked_by_itself() -> None:
    other = a_case(1024)
    records = [
        *a_cell(CASE, "eager", 1.0),
        *a_cell(CASE, "flex", 2.0),
        *a_cell(other, "eager", 4.0),
        *a_cell(other, "flex", 3.0),
    ]
    rows = rows_of(results(a_machine(a_plan(CASE, other)), *records))
    winners = [key for key, row in rows.items() if row.rank == 1]
    assert winners == [(CASE.id, "eager"), (other.id, "flex")]


def test_variants_whose_ratio_may_be_1_are_tied_with_the_fastest() -> None:
    rows = rows_of(
        race(
            {
                "no_bias": [1.0, 1.0, 1.0],
                "flex": [2.00, 2.00, 2.00],
                "eager": [2.10, 1.95, 2.08],
                "compile": [2.50, 2.51, 2.49],
            }
        )
    )
    tied = {variant: (row.rank, row.tied) for (_, variant), row in rows.items()}
    assert tied == {
        "no_bias": (None, False),
        "flex": (1, False),
        "eager": (2, True),
        "compile": (3, False),
    }


def test_a_tie_is_judged_by_paired_rounds_so_that_a_drift_makes_none() -> None:
    drift = [1.0, 3.0, 9.0]
    rows = rows_of(race({"no_bias": drift, "flex": drift, "eager": [1.1 * each for each in drift]}))
    assert (rows[CASE.id, "flex"].time_ci_ms or (0, 0))[1] > 30
    assert not rows[CASE.id, "eager"].tied
    assert rows[CASE.id, "eager"].vs_no_bias_ci == pytest.approx((1.1, 1.1), rel=1e-3)


def test_without_the_baseline_there_is_no_ratio_to_it_but_a_rank() -> None:
    row = rows_of(race({"eager": [2.0] * 3, "flex": [1.0] * 3}))[CASE.id, "eager"]
    assert (row.vs_no_bias, row.vs_no_bias_ci, row.rank) == (None, None, 2)


def test_passes_of_two_files_of_the_same_conditions_add_up() -> None:
    one = race({"no_bias": [1.0, 1.0], "eager": [2.0, 2.0]})
    other = race({"no_bias": [4.0], "eager": [8.0]})
    row = rows_of(one, other)[CASE.id, "eager"]
    assert (row.passes, row.samples) == (3, 30)
    assert row.time_ms == pytest.approx((2 * 2 * 8) ** (1 / 3))
    assert row.vs_no_bias == pytest.approx(2.0)
    assert row.time_ci_ms is not None


def test_passes_of_the_same_number_in_two_files_are_not_paired_with_each_other() -> None:
    one = race({"no_bias": [1.0]})
    other = race({"eager": [50.0]})
    row = rows_of(one, other)[CASE.id, "eager"]
    assert row.time_ms == pytest.approx(50.0)
    assert row.vs_no_bias is None


def test_files_of_two_lengths_make_the_cells_of_both() -> None:
    other = a_case(1024)
    rows = rows_of(race({"eager": [1.0]}), race({"eager": [3.0]}, other))
    assert set(rows) == {(CASE.id, "eager"), (other.id, "eager")}


@pytest.mark.parametrize(
    "other",
    [
        a_machine(a_plan(CASE), key="cpu-other"),
        a_machine(a_plan(CASE), torch="2.11.0"),
        a_machine(a_plan(CASE), threads=1),
        a_machine(a_plan(CASE), commit="1" * 40),
    ],
    ids=["hardware", "torch", "threads", "commit"],
)
def test_what_can_not_be_compared_makes_groups_of_its_own(other: RunHeader) -> None:
    here = race({"no_bias": [1.0], "eager": [2.0], "flex": [4.0]})
    there = race({"no_bias": [3.0], "eager": [9.0], "flex": [5.0]}, header=other)
    found = groups([here, there, here])
    assert [group.header for group in found] == [here.header, other]
    for group, passes, winner in zip(found, (2, 1), ("eager", "flex"), strict=True):
        assert {row.passes for row in group.rows} == {passes}
        assert [row.variant for row in group.rows if row.rank == 1] == [winner]


def test_what_two_commits_wrote_into_one_file_makes_two_groups() -> None:
    old = race({"eager": [2.0]})
    new = race({"eager": [4.0]}, header=a_machine(a_plan(CASE), commit="1" * 40))
    found = groups([old._replace(records=[*old.records, *new.records])])
    times = {group.codes[0]: [row.time_ms for row in group.rows if row.time_ms] for group in found}
    assert times == {
        "commit 000000000000": [pytest.approx(2.0)],
        "commit 111111111111": [pytest.approx(4.0)],
    }


def test_a_group_has_the_canary_of_every_pass() -> None:
    one = results(a_machine(), a_canary(1, 7.0), a_canary(2, 8.0))
    other = results(a_machine(), a_canary(1, 9.0))
    (group,) = groups([one, other])
    assert group.canaries == [a_canary(1, 7.0), a_canary(2, 8.0), a_canary(1, 9.0)]


def test_rows_come_in_the_order_of_the_plan() -> None:
    other = a_case(64)
    records = [*a_cell(other, "flex"), *a_cell(CASE, "eager"), *a_cell(CASE, "no_bias")]
    (group,) = groups([results(a_machine(a_plan(CASE, other)), *records)])
    assert [(row.case, row.variant) for row in group.rows] == [
        (case.id, name) for case in (CASE, other) for name in VARIANTS
    ]


def test_the_first_call_shown_is_the_one_with_an_empty_cache() -> None:
    warm = a_time(CASE, "eager", 1.0, 2)
    header = a_machine(a_plan(CASE, passes=2))
    check = a_check(CASE, "eager")
    assert rows_of(results(header, check, warm))[CASE.id, "eager"].first_call_s is None
    cold = a_time(CASE, "eager", 1.0, 1, cold=True)
    assert rows_of(results(header, check, warm, cold))[CASE.id, "eager"].first_call_s == 0.5


def test_the_error_shown_is_the_one_nearest_to_its_budget() -> None:
    records: list[CellRecord] = [
        a_check(CASE, "eager", error=3e-7, budget=1e-5),
        a_check(CASE, "eager", stage="after", error=2e-7, budget=2.5e-7),
        a_time(CASE, "eager"),
    ]
    row = rows_of(results(a_machine(), *records))[CASE.id, "eager"]
    assert (row.error, row.error_budget) == (2e-7, 2.5e-7)


def test_the_memory_shown_is_the_most_that_was_weighed() -> None:
    records = [a_memory(CASE, "eager", 1), a_memory(CASE, "eager", 2, peak_bytes=5 << 20)]
    header = a_machine(a_plan(CASE, passes=2))
    rows = rows_of(results(header, *records, a_time(CASE, "eager"), a_time(CASE, "flex")))
    eager, flex = rows[CASE.id, "eager"], rows[CASE.id, "flex"]
    assert (eager.peak_bytes, eager.persistent_bytes, eager.nvml_bytes) == (5 << 20, 1 << 20, None)
    assert (flex.peak_bytes, flex.persistent_bytes, flex.nvml_bytes) == (None, None, None)

"""Whatever became of a cell from base to head is said, and nothing that got worse passes."""

from collections.abc import Sequence
from typing import Any

import pytest

from reports.verdicts.compare_runs import compare_runs
from suite.records.record import Record, Status
from tests.records import FAULTS, a_case, a_cell, a_check, a_fault, a_machine, a_plan, a_run
from tests.reports.comparisons import STEADY, compare, line_of, times

CASE = a_case()
WIDE = (0.7, 1.0, 1.4)


# Times


def test_a_cell_that_is_slower_in_every_pass_has_regressed() -> None:
    base = a_run({"eager": STEADY, "flex": times(2)})
    found = compare(base, a_run({"eager": times(1.3), "flex": times(2)}))
    line = line_of(found)
    assert (line.case, line.verdict, line.replicates, line.reason) == (CASE.id, "slower", 3, None)
    assert line.ratio == pytest.approx(1.3, rel=1e-3)
    assert line.ratio_ci is not None
    assert 1.2 < line.ratio_ci[0] < 1.3 < line.ratio_ci[1] < 1.4
    assert line.regressed
    assert line_of(found, "flex").verdict == "same"
    assert not line_of(found, "flex").regressed
    assert found.regressed


def test_a_faster_cell_has_not_regressed() -> None:
    found = compare(a_run({"eager": STEADY}), a_run({"eager": times(0.7)}))
    assert line_of(found).verdict == "faster"
    assert line_of(found).ratio == pytest.approx(0.7, rel=1e-3)
    assert not found.regressed


def test_the_same_file_twice_is_the_same() -> None:
    both = a_run({"eager": (1.0, 1.001, 0.999)})
    found = compare(both, both)
    assert (line_of(found).verdict, line_of(found).ratio) == ("same", 1.0)
    assert not found.regressed


@pytest.mark.parametrize("passes", [WIDE, (1.0,)], ids=["wide passes", "one pass"])
def test_identical_times_are_the_same_however_wide_or_few(passes: Sequence[float]) -> None:
    both = a_run({"eager": passes, "flex": STEADY})
    found = compare(both, both)
    assert [(line.verdict, line.ratio) for line in found.lines] == [("same", 1.0)] * 2
    assert line_of(found).ratio_ci == (1.0, 1.0)


@pytest.mark.parametrize(
    ("base", "head"),
    [((1.0,), (1.3,)), (STEADY, (1.3,)), ((1.0,), times(1.3)), (WIDE, times(1.3, WIDE))],
    ids=["one pass each", "one pass in head", "one pass in base", "wide passes"],
)
def test_few_or_wide_passes_tell_nothing(base: Sequence[float], head: Sequence[float]) -> None:
    found = compare(a_run({"eager": base}), a_run({"eager": head}))
    line = line_of(found)
    assert line.verdict == "inconclusive"
    assert line.ratio is not None
    assert line.replicates == min(len(base), len(head))
    assert (line.ratio_ci is None) == (line.replicates == 1)
    assert not found.regressed


def test_no_less_than_the_gate_raises_an_alarm() -> None:
    base, head = a_run({"eager": STEADY}), a_run({"eager": times(1.3)})
    assert not compare_runs(base, head, gate=0.4).regressed
    assert compare_runs(base, head, gate=0.2).regressed


# Cells that have no times on both sides


def test_a_renamed_variant_is_missing_under_its_old_name_and_new_under_the_other() -> None:
    found = compare(a_run({"eager": STEADY}), a_run({"eagre": STEADY}))
    old, new = line_of(found, "eager"), line_of(found, "eagre")
    assert (old.verdict, old.reason) == ("missing", "base has it and head does not")
    assert (new.verdict, new.reason) == ("inconclusive", "head has it and base does not")
    assert (old.regressed, new.regressed) == (True, False)
    assert found.regressed


def test_a_vanished_case_is_missing() -> None:
    gone = a_case(1024)
    base = a_run({"eager": STEADY}, *a_cell(gone, "eager"))
    found = compare(base, a_run({"eager": STEADY}))
    (line,) = (one for one in found.lines if one.case == gone.id)
    assert (line.verdict, line.regressed) == ("missing", True)
    assert found.regressed


@pytest.mark.parametrize("status", FAULTS)
def test_a_cell_that_fails_in_head_alone_is_missing_with_the_reason(status: Status) -> None:
    fault = a_fault(CASE, "eager", 2, status=status, reason="so it was")
    base = a_run({"eager": STEADY, "flex": STEADY})
    found = compare(base, a_run({"eager": STEADY[:1], "flex": STEADY}, fault))
    line = line_of(found)
    assert (line.verdict, line.reason) == ("missing", f"{status} in head: so it was")
    assert (line.ratio, line.ratio_ci, line.replicates) == (None, None, 0)
    assert found.regressed
    assert line_of(found, "flex").verdict == "same"


def test_a_cell_that_head_has_not_measured_yet_is_missing_with_a_way_out() -> None:
    head = a_run({"flex": STEADY}, header=a_machine(a_plan(CASE, variants=["eager", "flex"])))
    found = compare(a_run({"eager": STEADY, "flex": STEADY}), head)
    line = line_of(found)
    assert line.verdict == "missing"
    assert line.reason is not None
    assert "--resume" in line.reason
    assert found.regressed


@pytest.mark.parametrize("stage", ["before", "after"])
@pytest.mark.parametrize(
    ("error", "words"),
    [(8e-6, "error 8.0e-06, 8 times its budget of 1.0e-06"), (None, "no finite error")],
)
def test_what_agreed_in_base_and_disagrees_in_head_is_wrong(
    stage: Any, error: float | None, words: str
) -> None:
    disagrees = a_check(CASE, "eager", 2, stage=stage, error=error)
    found = compare(a_run({"eager": STEADY}), a_run({"eager": times(0.1)}, disagrees))
    line = line_of(found)
    reason = f"disagrees in head: out, batch 0 head 3: {words}"
    assert (line.verdict, line.reason, line.ratio) == ("wrong", reason, None)
    assert found.regressed


def test_what_failed_in_base_is_no_regression_in_head_and_its_status_is_said() -> None:
    crashed = a_fault(CASE, "eager", status="crashed", reason="killed by signal 11")
    disagrees = a_check(CASE, "flex", error=None)
    base = a_run({"eager": (), "flex": ()}, crashed, disagrees)
    for head in (base, a_run({"eager": STEADY, "flex": STEADY})):
        found = compare(base, head)
        eager, flex = line_of(found), line_of(found, "flex")
        assert (eager.verdict, flex.verdict) == ("inconclusive", "inconclusive")
        assert eager.reason == "crashed in base: killed by signal 11"
        assert flex.reason == "disagrees in base: out, batch 0 head 3: no finite error"
        assert not found.regressed


@pytest.mark.parametrize(
    "others",
    [(), (a_fault(CASE, "eager"),), (a_check(CASE, "eager", error=1.0),)],
    ids=["not measured in head either", "unsupported in head", "disagrees in head"],
)
def test_what_base_never_measured_can_not_have_regressed(others: Sequence[Record]) -> None:
    found = compare(a_run({"eager": ()}), a_run({"eager": ()}, *others))
    assert line_of(found).verdict == "inconclusive"
    assert line_of(found).reason == "not measured in base"
    assert not found.regressed


def test_what_is_new_in_head_is_said() -> None:
    found = compare(a_run({"eager": STEADY}), a_run({"eager": STEADY, "flex": STEADY}))
    line = line_of(found, "flex")
    assert (line.verdict, line.reason) == ("inconclusive", "head has it and base does not")
    assert not found.regressed


def test_runs_of_nothing_compare_to_nothing() -> None:
    found = compare(a_run({}), a_run({}))
    assert (found.lines, found.regressed, found.judged) == ([], False, 0)


def test_a_header_alone_and_a_single_pass_are_not_judged() -> None:
    base = a_run({"eager": STEADY, "flex": STEADY})
    planned = a_run({"eager": (), "flex": ()})
    doubled = a_run({"eager": (2.0,), "flex": (2.0,)})
    assert compare(planned, planned).judged == 0
    assert compare(base, doubled).judged == 0
    assert compare(base, base).judged == 2

"""A budget is kept though variants hang, and one that holds no race says what would."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from suite.budget import HANGS, Budget, NothingMeasured
from suite.cases.plan import Plan
from suite.conditions.device import device_for
from suite.race.setting import Deadlines
from suite.race.stopping import FEW_ROUNDS
from suite.race.watch import Silence
from suite.records.fingerprint import run_header
from suite.records.record import Fault, Time
from suite.records.store import Store, read
from suite.run import Run
from tests.fakes.drive import VARIANTS, plan
from tests.fakes.in_process import start_invented_lanes_in_process
from tests.fakes.lane import PlannedFault
from tests.records import a_case, a_cell, a_fault, a_plan

CASE = a_case()
PLAN = a_plan(CASE)
"""Its steps may take 60 s."""


def at(*readings_s: float) -> Callable[[], float]:
    """Return a clock that starts at 0 and then shows these seconds, the last one for good."""
    left = [0.0, *readings_s]
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_without_a_budget_a_step_may_take_what_the_plan_says() -> None:
    assert Budget(PLAN, None).step_limit_s() == PLAN.step_timeout_s


@pytest.mark.parametrize(
    ("now_s", "limit_s"), [(0.0, 40.0), (60.0, 20.0), (117.0, 1.0), (130.0, 0.0)]
)
def test_a_step_of_a_first_race_may_take_a_share_of_what_is_left(
    now_s: float, limit_s: float
) -> None:
    assert Budget(PLAN, 120.0, at(now_s)).step_limit_s() == limit_s


def test_a_large_budget_leaves_the_plans_limit() -> None:
    assert Budget(PLAN, 3600.0, at(0.0)).step_limit_s() == PLAN.step_timeout_s


@pytest.mark.parametrize(("now_s", "limit_s"), [(50.0, 40.0), (100.0, 20.0)])
def test_a_later_step_may_take_as_long_as_the_longest_race_but_not_more_than_is_left(
    now_s: float, limit_s: float
) -> None:
    budget = Budget(PLAN, 120.0, at(now_s))
    budget.note_race(CASE, 40.0, 10.0)
    assert budget.step_limit_s() == limit_s


def test_two_variants_that_hang_leave_time_for_the_rest_of_the_race() -> None:
    budget = Budget(PLAN, 120.0, at(0.0))
    assert (HANGS - 1) * budget.step_limit_s() < 120.0


def test_no_race_begins_whose_steps_would_have_less_than_five_seconds() -> None:
    assert Budget(PLAN, HANGS * 5.1, at(0.0)).has_time_for(CASE, 1)
    assert not Budget(PLAN, HANGS * 4.9, at(0.0)).has_time_for(CASE, 1)


def test_a_budget_without_a_cell_names_one_that_would_hold_some() -> None:
    budget = Budget(PLAN, 1.0, at(0.0))
    budget.note_start(9.0)
    with pytest.raises(NothingMeasured, match=r"--budget 1s ended before .* give --budget 27s"):
        budget.check_measured()
    assert not budget.cuts_short(a_cell(CASE, "eager"), 0.3)
    budget.check_measured()


def test_a_budget_spent_on_hangs_names_twice_as_much() -> None:
    budget = Budget(PLAN, 100.0, at(0.0))
    assert budget.cuts_short([a_fault(CASE, "eager", status="timed_out")], 33.0)
    budget.note_race(CASE, 34.0, 0.0)
    with pytest.raises(NothingMeasured, match="give --budget 200s"):
        budget.check_measured()


def test_a_hang_makes_no_later_step_longer_and_no_later_pass_dearer() -> None:
    budget = Budget(PLAN, 120.0, at(45.0))
    assert budget.cuts_short([a_fault(CASE, "eager", status="timed_out")], 40.0)
    budget.note_race(CASE, 45.0, 2.0)
    assert budget.step_limit_s() == 25.0
    assert budget.remaining({CASE: ["no_bias", "eager"]}) == {CASE: ["no_bias"]}
    assert budget.remaining({CASE: ["eager"]}) == {}


def test_a_step_that_took_longer_than_the_plan_allows_is_not_cut_short() -> None:
    fault = a_fault(CASE, "eager", status="timed_out")
    assert not Budget(PLAN, 3600.0, at(0.0)).cuts_short([fault], PLAN.step_timeout_s)


def measure(wanted: Plan, file: Path, budget_s: float) -> None:
    """Measure a plan of the fake variants within a budget."""
    header = run_header(wanted, [], device_for("cpu"))
    store = Store(file)
    store.append([header])
    try:
        Run(wanted, VARIANTS, header.policy, store, Silence(), budget_s=budget_s).measure()
    finally:
        store.close()


def test_a_variant_that_hangs_is_left_out_and_the_others_are_measured_in_every_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs: PlannedFault = ("tests.fakes.second", 16, "Slice", "hang")
    started = start_invented_lanes_in_process(monkeypatch, [hangs])
    file = tmp_path / "run.jsonl"
    measure(plan(step_timeout_s=600.0, passes=2, lengths=(16,)), file, budget_s=600.0)
    whole = read(file)
    assert not any(isinstance(record, Fault) for record in whole.records)
    times = Counter(record.variant for record in whole.records if isinstance(record, Time))
    assert times == {"no_bias": 2, "first": 2}
    assert started.count("tests.fakes.second") == 1
    assert {variant for _, variant, _ in whole.finished_cells()} == {"no_bias", "first"}


def test_the_variants_of_a_race_enter_within_half_of_what_is_left() -> None:
    assert Budget(PLAN, 120.0, at(20.0)).deadlines() == Deadlines(70.0, 120.0)
    assert Budget(PLAN, None).deadlines().are_far


def test_what_has_no_time_to_enter_waits_for_resume_and_who_entered_stops_after_a_few_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_invented_lanes_in_process(monkeypatch)
    monkeypatch.setattr(Budget, "deadlines", lambda _: Deadlines(0.0, 0.0))
    file = tmp_path / "run.jsonl"
    measure(plan(step_timeout_s=600.0, passes=1, lengths=(16,)), file, budget_s=600.0)
    records = read(file).records
    times = [record for record in records if isinstance(record, Time)]
    assert not any(isinstance(record, Fault) for record in records)
    assert [(time.variant, time.stopped_by) for time in times] == [("no_bias", "end of the budget")]
    assert len(times[0].turns) == FEW_ROUNDS


def test_a_variant_that_enters_in_a_later_pass_compiles_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_invented_lanes_in_process(monkeypatch)
    deadlines = iter([Deadlines(0.0, 0.0), Deadlines()])
    monkeypatch.setattr(Budget, "deadlines", lambda _: next(deadlines))
    file = tmp_path / "run.jsonl"
    measure(plan(step_timeout_s=600.0, passes=2, lengths=(16,)), file, budget_s=600.0)
    times = [record for record in read(file).records if isinstance(record, Time)]
    cold = {(time.variant, time.pass_number): time.cold for time in times}
    assert cold == {
        ("no_bias", 1): True,
        ("no_bias", 2): False,
        ("first", 2): True,
        ("second", 2): True,
    }


def test_a_budget_too_small_for_any_race_starts_no_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = start_invented_lanes_in_process(monkeypatch)
    with pytest.raises(NothingMeasured):
        measure(plan(step_timeout_s=60.0, passes=1), tmp_path / "run.jsonl", budget_s=1.0)
    assert started == []

"""A run: passes over a plan, in each pass a race for each case, and in a race all variants.

Races are in suite/race, the processes that do the work in suite/lanes.
"""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random

from suite.budget import Budget
from suite.cases.case import Case
from suite.cases.plan import Cell, Plan
from suite.clocks.series import CanaryTimes
from suite.conditions.nvml import Absent, NvmlGpu
from suite.conditions.policy import Policy
from suite.failures import RunFailed
from suite.lanes.compile_cache import compile_cache
from suite.lanes.handle import LAUNCH, Handle, LaneFault, Launch
from suite.lanes.pool import LanePool
from suite.lanes.protocol import DeviceRates, Done, Drop, FindLimits, RunCanary
from suite.race.host_bound import without_host_bound
from suite.race.race import race
from suite.race.setting import Evidence, Setting
from suite.race.watch import Watch
from suite.records.record import Canary, CellRecord, Limit, Time
from suite.records.store import Store
from variants.catalog import BASELINE, Variant

FinishedCells = frozenset[tuple[Case, str, int]]
"""Cells that need no measuring: case, variant and pass."""

Missing = dict[Case, list[str]]
"""The variants that a pass has to measure of each case."""


@dataclass(frozen=True)
class Run:
    """A plan, and what measures it: the variants, the policy, a GPU, and how lanes are launched.

    `launches` are those of variants with an interpreter of their own.

    Records go to `store`, progress to `watch`. With `budget_s` (seconds) a race only begins if it
    is expected to end in time, its steps may take a share of what is left, and the first pass takes
    the cases in coverage order. A cell that the budget cuts short is left for a resumed run.
    `evidence` is what the run has learnt so far. With `defer_host_bound` cells whose cost is the
    host's time are left for a resumed run, because other GPUs of the machine race now.
    """

    plan: Plan
    variants: Sequence[Variant]
    policy: Policy
    store: Store
    watch: Watch
    gpu: NvmlGpu | Absent = field(default_factory=lambda: Absent("the run uses no GPU"))
    budget_s: float | None = None
    launch: Launch = LAUNCH
    launches: Mapping[str, Launch] = field(default_factory=dict)
    evidence: Evidence = field(default_factory=Evidence)
    defer_host_bound: bool = False

    def measure(self, finished: FinishedCells = frozenset()) -> None:
        """Measure the cells of the plan that are not `finished`; store each as soon as it ends.

        Every pass starts fresh lanes, one process for each variant. All passes share one compile
        cache, which is empty at the start.

        Raises RunFailed when a lane can't be started, the file can't be written, or the budget
        holds no cell.
        """
        plan = self.plan
        variants = {variant.name: variant for variant in self.variants}
        passes = {number: _missing(plan, finished, number) for number in range(1, plan.passes + 1)}
        self.watch.begin(sum(len(names) for cases in passes.values() for names in cases.values()))
        cold = {(case, name) for case in plan.cases for name in plan.variants}
        budget = Budget(plan, self.budget_s)
        with compile_cache() as cache, _no_run_without_lanes():
            for number, missing in passes.items():
                cases = budget.remaining(missing)
                if not any(budget.has_time_for(case, number) for case in cases):
                    continue
                with LanePool(
                    variants, self.policy, cache, plan.device, self.launch, self.launches
                ) as pool:
                    self._start_pass(number, cases, pool, budget)
                    for case in budget.order(number, list(cases)):
                        if budget.has_time_for(case, number):
                            self._race(case, number, cases[case], cold, pool, budget)
        if any(passes.values()):
            budget.check_measured()

    def _start_pass(self, number: int, cases: Missing, pool: LanePool, budget: Budget) -> None:
        """Start the lanes of a pass, and record the machine's speed from the first of them."""
        began = time.monotonic()
        lanes = pool.ready(dict.fromkeys(name for names in cases.values() for name in names))
        self._record_canary(number, lanes[0])
        self._record_limits(number, lanes[0])
        budget.note_start(time.monotonic() - began)

    def _race(
        self,
        case: Case,
        number: int,
        names: Sequence[str],
        cold: set[Cell],
        pool: LanePool,
        budget: Budget,
    ) -> None:
        """Race a case's variants; remove those that raced from `cold`, what has not compiled."""
        began = time.monotonic()
        setting = Setting(
            case=case,
            pass_number=number,
            race=0,
            step_timeout_s=budget.step_limit_s(),
            cold=frozenset(name for name in names if (case, name) in cold),
            watch=self.watch,
            gpu=self.gpu,
            evidence=self.evidence,
            deadlines=budget.deadlines(),
        )
        ended: list[CellRecord] = []
        deferrable: list[CellRecord] = []
        for records in race(setting, pool, names, Random(f"{self.plan.seed} {number} {case.id}")):
            if not budget.cuts_short(records, setting.step_timeout_s):
                if self.defer_host_bound:
                    deferrable += records
                else:
                    self.store.append(records)
            ended += records
        self.store.append(without_host_bound(deferrable))
        starting_s = sum(
            record.prepare_s + record.first_call_s for record in ended if isinstance(record, Time)
        )
        budget.note_race(case, time.monotonic() - began, starting_s)
        cold.difference_update((case, record.variant) for record in ended)
        self.watch.report(f"pass {number}, {case.id}", ended, len(names))

    def _record_canary(self, number: int, lane: Handle) -> None:
        canary = lane.ask(RunCanary(), CanaryTimes, self.plan.step_timeout_s)
        median_ms = statistics.median(canary.samples_ns) / 1e6
        self.store.append([Canary(number, canary.what, median_ms)])

    def _record_limits(self, number: int, lane: Handle) -> None:
        """Record the device's peak rates, or say why they are not known.

        A device may be too small for their tensors, and a dtype too slow for the step's limit.
        """
        dtypes = dict.fromkeys(case.dtype for case in self.plan.cases)
        step = FindLimits(tuple(dtypes | {"float32": None}))
        try:
            limits = lane.ask(step, DeviceRates, self.plan.step_timeout_s)
        except LaneFault as fault:
            held = (
                "times are held against those of an earlier pass"
                if self.evidence.rates
                else "no time is held against what the device can do"
            )
            self.watch.note(
                f"pass {number}: the device's rates are not known ({fault.reason}); {held}"
            )
            return
        self.evidence.note_rates(limits.rates)
        self.store.append(
            Limit(number, rate.dtype, rate.flops_per_s, rate.bytes_per_s)
            for rate in limits.rates
            if rate.dtype in dtypes
        )
        with suppress(LaneFault):  # a race starts the lane again
            lane.ask(Drop(), Done, self.plan.step_timeout_s)


def _missing(plan: Plan, finished: FinishedCells, number: int) -> Missing:
    """Return the variants that a pass lacks of each case.

    The baseline is always with them, because ratios to it need rounds of the same race.
    """
    missing: Missing = {}
    for case in plan.cases:
        lacking = [name for name in plan.variants if (case, name, number) not in finished]
        if lacking:
            missing[case] = [
                name for name in plan.variants if name in lacking or name == BASELINE.name
            ]
    return missing


@contextmanager
def _no_run_without_lanes() -> Iterator[None]:
    """Raise RunFailed where a lane can't start; races record every other fault."""
    try:
        yield
    except LaneFault as fault:
        raise RunFailed(f"a lane can't start: {fault.reason}") from fault

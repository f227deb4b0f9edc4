"""A run: every case of a plan in every variant, pass by pass, each result written as it comes."""

import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from suite.cases.case import Case
from suite.cases.plan import Plan
from suite.clocks.series import CanaryRan
from suite.conditions.nvml import Absent, NvmlGpu
from suite.conditions.policy import Policy
from suite.failures import RunFailed
from suite.lanes.compile_cache import compile_cache
from suite.lanes.handle import LAUNCH, Handle, LaneFault, Launch
from suite.lanes.pool import LanePool
from suite.lanes.protocol import Done, Drop, FindLimits, LimitsFound, RunCanary
from suite.race.race import heats
from suite.race.schedule import Schedule
from suite.race.setting import Setting
from suite.race.watch import Watch
from suite.records.record import Canary, CellRecord, Limit, Time
from suite.records.store import Store
from variants.catalog import BASELINE, Variant

FinishedCells = frozenset[tuple[Case, str, int]]
Missing = dict[Case, list[str]]


@dataclass(frozen=True)
class Run:
    """A plan and what it is measured with: lanes made by `launch`, and a GPU to watch.

    Results go to `store`, progress to `watch`. With `budget_s` no race begins that is not expected
    to end within so many seconds, and the first pass takes the most telling cases first.
    """

    plan: Plan
    variants: Sequence[Variant]
    policy: Policy
    store: Store
    watch: Watch
    gpu: NvmlGpu | Absent = field(default_factory=lambda: Absent("the run uses no GPU"))
    budget_s: float | None = None
    launch: Launch = LAUNCH

    def measure(self, finished: FinishedCells = frozenset()) -> None:
        """Measure what of the plan is not `finished`; every pass has fresh lanes.

        Raises RunFailed when lanes can't be started, StoreError when the file can't be written.
        """
        plan = self.plan
        passes = {number: _missing(plan, finished, number) for number in range(1, plan.passes + 1)}
        self.watch.begin(sum(len(names) for own in passes.values() for names in own.values()))
        by_name = {variant.name: variant for variant in self.variants}
        schedule = Schedule(plan, self.budget_s)
        compiled: set[tuple[Case, str]] = set()
        with compile_cache() as cache:
            for number, missing in passes.items():
                if not any(schedule.has_time_for(case, number) for case in missing):
                    continue
                with LanePool(by_name, self.policy, cache, plan.device, self.launch) as pool:
                    try:
                        self._pass(number, missing, pool, schedule, compiled)
                    except LaneFault as fault:
                        raise RunFailed(f"a lane can't start: {fault.reason}") from fault

    def _pass(
        self,
        number: int,
        missing: Missing,
        pool: LanePool,
        schedule: Schedule,
        compiled: set[tuple[Case, str]],
    ) -> None:
        began = time.monotonic()
        lanes = pool.ready(dict.fromkeys(name for names in missing.values() for name in names))
        self._look_at_machine(number, lanes[0])
        schedule.started(time.monotonic() - began)
        for case in schedule.order(number, list(missing)):
            if not schedule.has_time_for(case, number):
                continue
            names = missing[case]
            cold = frozenset(name for name in names if (case, name) not in compiled)
            began = time.monotonic()
            ended = self._race(case, number, names, cold, pool)
            starting_s = sum(
                one.prepare_s + one.first_call_s for one in ended if isinstance(one, Time)
            )
            schedule.raced(case, time.monotonic() - began, starting_s)
            compiled.update((case, name) for name in names)
            self.watch.raced(f"pass {number}, {case.id}", ended, len(names))

    def _race(
        self, case: Case, number: int, names: Sequence[str], cold: frozenset[str], pool: LanePool
    ) -> list[CellRecord]:
        setting = Setting(
            case=case,
            pass_number=number,
            race=0,
            seed=self.plan.seed,
            step_timeout_s=self.plan.step_timeout_s,
            cold=cold,
            watch=self.watch,
            gpu=self.gpu,
        )
        ended: list[CellRecord] = []
        order = Random(f"{self.plan.seed} {number} {case.id}")
        for records in heats(setting, pool, names, order):
            self.store.append(records)
            ended += records
        return ended

    def _look_at_machine(self, number: int, lane: Handle) -> None:
        """Record how fast the machine is at the start of a pass, and what it does at most."""
        limit_s = self.plan.step_timeout_s
        ran = lane.ask(RunCanary(), CanaryRan, limit_s)
        self.store.append([Canary(number, ran.what, statistics.median(ran.samples_ns) / 1e6)])
        dtypes = tuple(dict.fromkeys(case.dtype for case in self.plan.cases))
        with suppress(LaneFault):  # a device too small for them is measured without limits
            found = lane.ask(FindLimits(dtypes), LimitsFound, limit_s)
            lane.ask(Drop(), Done, limit_s)
            self.store.append(
                Limit(number, rate.dtype, rate.flops_per_s, rate.bytes_per_s)
                for rate in found.rates
            )


def _missing(plan: Plan, finished: FinishedCells, number: int) -> Missing:
    """Return what a pass lacks; where it lacks a variant, the baseline races beside it again."""
    missing: Missing = {}
    for case in plan.cases:
        names = [name for name in plan.variants if (case, name, number) not in finished]
        if names:
            missing[case] = [
                name for name in plan.variants if name in names or name == BASELINE.name
            ]
    return missing

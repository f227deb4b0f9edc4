"""A duel: pairs of a base lane and a head lane, which take turns in random order.

One pair of fresh processes is one replicate: samples within a process are not independent. A pair
prepares every case several times, because the addresses of its tensors change its time as much as
a new process does.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import msgspec

from suite.cases.case import Case
from suite.cases.plan import Cell, Plan
from suite.clocks.cpu_clock import SETTLE_S
from suite.clocks.series import SeriesName, cost
from suite.conditions.nvml import Absent, NvmlGpu
from suite.conditions.policy import Policy
from suite.lanes.handle import Handle, LaneFault
from suite.lanes.pool import LanePool
from suite.lanes.protocol import Done, Drop, FirstCall, Prepare, Step
from suite.pairs.sides import Side
from suite.race.checks.outside_clock import timed_turn
from suite.race.setting import Setting, fault_record, fresh_seed
from suite.race.steady_turn import Patience, Turn, steady_turn
from suite.race.watch import Watch
from suite.records.record import SIDES, Fault, Pair, PairRecord, PairSide, Stage
from suite.records.store import Store

VISITS, ROUNDS = 4, 1
"""How often a pair prepares each case, and how many rounds it times each time.

Over 24 pairs of `eager` and `sdpa_mask` at four lengths, four visits of one round spread by 0.8% to
4.6%. One visit of four rounds takes as long and spread by 0.9% to 6.0%.
"""

PATIENCE_S = 4.0

Lanes = dict[PairSide, Handle]


@dataclass(frozen=True)
class Injection:
    """A slowdown planted in one cell of the head, as a share of its time, to test detection."""

    cell: Cell
    share: float


@dataclass
class _CaseTimes:
    """The rounds of a case in a pair so far: (base, head), in nanoseconds a call."""

    rounds: list[tuple[float, float]] = field(default_factory=list)
    disturbed: int = 0
    patience: Patience = field(default_factory=lambda: Patience(PATIENCE_S))


@dataclass(frozen=True)
class Duel:
    """Base against head over the cases and variants of a plan; records go to `store`."""

    plan: Plan
    base: Side
    head: Side
    policy: Policy
    caches: dict[PairSide, Path]
    store: Store
    watch: Watch
    gpu: NvmlGpu | Absent
    injection: Injection | None = None

    def take(
        self, cells: Sequence[Cell], numbers: Sequence[int], stage: Stage | None
    ) -> list[Cell]:
        """Measure a pair of each number; return the cells that had no fault.

        Records go to the store. Without a stage the pairs are a rehearsal and not recorded.
        """
        sound = list(cells)
        for number in numbers:
            if not sound:
                break
            records = self._pairs_of_all(sound, number, stage)
            faulty = {
                (record.case, record.variant) for record in records if not isinstance(record, Pair)
            }
            sound = [cell for cell in sound if cell not in faulty]
            if stage is not None:
                self.watch.report(f"{stage} stage, pair {number}", records, len(records))
        return sound

    @contextmanager
    def pools(self, name: str) -> Iterator[list[tuple[PairSide, LanePool]]]:
        """Yield a pool for each side that has the variant, with a fresh lane of it."""
        with ExitStack() as stack:
            pools: list[tuple[PairSide, LanePool]] = []
            for label in SIDES:
                side = self.base if label == "base" else self.head
                if name in side.variants:
                    cache, device = self.caches[label], self.plan.device
                    pool = LanePool(side.variants, self.policy, cache, device, side.launch)
                    pools.append((label, stack.enter_context(pool)))
            for _, pool in pools:
                pool.start([name])
            yield pools

    def setting(self, case: Case, number: int) -> Setting:
        """Return the setting of a case in the pair with this number, for the records made in it."""
        return Setting(
            case=case,
            pass_number=number,
            race=time.time_ns(),
            step_timeout_s=self.plan.step_timeout_s,
            cold=frozenset(),
            watch=self.watch,
            gpu=self.gpu,
        )

    def _pairs_of_all(
        self, cells: Sequence[Cell], number: int, stage: Stage | None
    ) -> list[PairRecord]:
        """Measure one pair of each variant, in random order; return the records of all cells."""
        random = Random(f"{self.plan.seed} {stage} {number}")
        records: list[PairRecord] = []
        names = list(dict.fromkeys(name for _, name in cells))
        for name in random.sample(names, len(names)):
            cases = [case for case, variant in cells if variant == name]
            for record in self._pair(name, cases, number, stage, random):
                records.append(record)
                if stage is not None:
                    self.store.append([record])
        return records

    def _pair(
        self, name: str, cases: Sequence[Case], number: int, stage: Stage | None, random: Random
    ) -> Iterator[PairRecord]:
        """Visit a variant's cases several times, in random order; yield a record of each case.

        A fault names the side that broke, and comes at once. Pairs come after the last visit.
        """
        times = {case: _CaseTimes() for case in cases}
        with self.pools(name) as pools:
            for _ in range(VISITS):
                for case in random.sample(list(times), len(times)):
                    self.watch.step(case, name, f"pair {number}")
                    fault = self._visit((case, name), number, times[case], pools, random)
                    if fault is not None:
                        del times[case]
                        yield fault
        for case, timed in times.items():
            rounds = tuple(timed.rounds)
            yield Pair(case, name, number, stage or "first", rounds, timed.disturbed)

    def _visit(
        self,
        cell: Cell,
        number: int,
        times: _CaseTimes,
        pools: Sequence[tuple[PairSide, LanePool]],
        random: Random,
    ) -> Fault | None:
        """Prepare a cell on both sides, time its rounds into `times`, and drop its tensors."""
        case, name = cell
        lanes: Lanes = {}
        side: PairSide = "base"
        try:
            for side, pool in random.sample(pools, len(pools)):
                (lanes[side],) = pool.ready([name])
            for side, step in self._tell_first_steps(lanes, cell):
                lanes[side].hear(step, Done, self.plan.step_timeout_s)
            time.sleep(SETTLE_S)  # the threads of both sides' first calls are still spinning
            for _ in range(ROUNDS):
                turns: dict[PairSide, Turn] = {}
                for side in random.sample(SIDES, len(SIDES)):
                    turns[side] = self._turn(lanes[side], times.patience)
                    times.disturbed += turns[side].disturbed
                times.rounds.append((_call_ns(turns["base"]), _call_ns(turns["head"])))
            for side in SIDES:
                lanes[side].ask(Drop(), Done, self.plan.step_timeout_s)
        except LaneFault as fault:
            broken = next((label for label, lane in lanes.items() if not lane.alive), side)
            for lane in lanes.values():
                lane.end()
            record = fault_record(self.setting(case, number), name, fault)
            return msgspec.structs.replace(record, side=broken)
        return None

    def _tell_first_steps(self, lanes: Lanes, cell: Cell) -> Iterator[tuple[PairSide, Step]]:
        """Tell both lanes to prepare, then to call; yield each step whose answer is due.

        The lanes work at the same time, since nothing is timed yet.
        """
        injection, inputs_seed = self.injection, fresh_seed()
        slowed_by = {"base": 0.0, "head": 0.0}
        if injection is not None and injection.cell == cell:
            slowed_by["head"] = injection.share
        for steps in (
            {side: Prepare(cell[0], inputs_seed, slowed_by[side]) for side in lanes},
            {side: FirstCall() for side in lanes},
        ):
            for side, step in steps.items():
                lanes[side].tell(step)
            yield from steps.items()

    def _turn(self, lane: Handle, patience: Patience) -> Turn:
        limit_s = self.plan.step_timeout_s
        return steady_turn(lambda: timed_turn(lane, limit_s), self.gpu, patience)


def _call_ns(turn: Turn) -> float:
    """Return a call's cost in nanoseconds: the median of the turn's samples."""
    series: dict[SeriesName, list[tuple[int, list[int]]]] = {
        samples.name: [(0, samples.samples_ns)] for samples in turn.samples.series
    }
    ((_, samples_ns),) = series[cost(series)]
    return statistics.median(samples_ns) / turn.samples.calls_per_sample

"""Pairs: a base lane and a head lane alive side by side, timed slice by slice in random order.

One pair of fresh processes is one replicate; samples inside a process are not. Within a pair every
case is prepared anew several times, since where its tensors lie moves its time as much as the
process does.
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
from suite.cases.plan import Plan
from suite.clocks.cpu_clock import SETTLE_S
from suite.clocks.series import Sampled, SeriesName, cost
from suite.conditions.nvml import Absent, NvmlGpu
from suite.conditions.policy import Policy
from suite.lanes.handle import Handle, LaneFault
from suite.lanes.pool import LanePool
from suite.lanes.protocol import Done, Drop, FirstCall, Prepare, Slice, Step
from suite.pairs.sides import Side
from suite.race.setting import Setting, fault_record
from suite.race.steady_turn import Patience, Turn, steady_turn
from suite.race.watch import Watch
from suite.records.record import SIDES, Fault, Pair, PairRecord, PairSide, Stage
from suite.records.store import Store

VISITS, ROUNDS = 4, 1
"""How often a pair prepares each case, and how many rounds it times then. Over 24 pairs of `eager`
and `sdpa_mask` at four lengths four visits of one round spread by 0.8% to 4.6%, one visit of four
rounds, which takes as long, by 0.9% to 6.0%."""

PATIENCE_S = 4.0

Cell = tuple[Case, str]
Lanes = dict[PairSide, Handle]


@dataclass(frozen=True)
class Injection:
    """A slowdown of one cell on the head's side, as a share of its time, to see it found."""

    cell: Cell
    share: float


@dataclass
class _Timed:
    """What a pair has of a case so far: rounds of (base, head) in nanoseconds a call."""

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
        """Measure pairs of these numbers; return the cells that stayed whole.

        Without a stage it is a rehearsal, and nothing is kept.
        """
        alive = list(cells)
        for number in numbers:
            if not alive:
                break
            random = Random(f"{self.plan.seed} {stage} {number}")
            ended: list[PairRecord] = []
            names = list(dict.fromkeys(name for _, name in alive))
            for name in random.sample(names, len(names)):
                own = [case for case, variant in alive if variant == name]
                for record in self._pair(name, own, number, stage, random):
                    ended.append(record)
                    if stage is not None:
                        self.store.append([record])
                    if not isinstance(record, Pair):
                        alive.remove((record.case, name))
            if stage is not None:
                self.watch.raced(f"{stage} stage, pair {number}", ended, len(ended))
        return alive

    @contextmanager
    def pools(self, name: str) -> Iterator[list[tuple[PairSide, LanePool]]]:
        """Start a fresh lane of a variant on each side that has it."""
        with ExitStack() as stack:
            pools: list[tuple[PairSide, LanePool]] = []
            for side in SIDES:
                own = self.base if side == "base" else self.head
                if name in own.variants:
                    pool = LanePool(
                        own.variants, self.policy, self.caches[side], self.plan.device, own.launch
                    )
                    pools.append((side, stack.enter_context(pool)))
            for _, pool in pools:
                pool.begin([name])
            yield pools

    def setting(self, case: Case, number: int) -> Setting:
        """Return what a record of a case in a pair of this number says of its circumstances."""
        return Setting(
            case=case,
            pass_number=number,
            race=time.time_ns(),
            seed=self.plan.seed,
            step_timeout_s=self.plan.step_timeout_s,
            cold=frozenset(),
            watch=self.watch,
            gpu=self.gpu,
        )

    def _pair(
        self, name: str, cases: Sequence[Case], number: int, stage: Stage | None, random: Random
    ) -> Iterator[PairRecord]:
        """Visit a variant's cases in turns, each in another order; yield what becomes of each.

        A fault, of the side that broke, comes at once, and a pair after the last visit.
        """
        timed = {case: _Timed() for case in cases}
        with self.pools(name) as pools:
            for _ in range(VISITS):
                for case in random.sample(list(timed), len(timed)):
                    self.watch.step(case, name, f"pair {number}")
                    fault = self._visit((case, name), number, timed[case], pools, random)
                    if fault is not None:
                        del timed[case]
                        yield fault
        for case, its in timed.items():
            yield Pair(case, name, number, stage or "first", tuple(its.rounds), its.disturbed)

    def _visit(
        self,
        cell: Cell,
        number: int,
        timed: _Timed,
        pools: Sequence[tuple[PairSide, LanePool]],
        random: Random,
    ) -> Fault | None:
        """Prepare both sides, time some rounds of them and drop them again."""
        case, name = cell
        lanes: Lanes = {}
        side: PairSide = "base"
        try:
            for side, pool in random.sample(pools, len(pools)):
                (lanes[side],) = pool.ready([name])
            for side, step in self._starting(lanes, cell):
                lanes[side].hear(step, Done, self.plan.step_timeout_s)
            time.sleep(SETTLE_S)  # the threads of both sides' first calls are still spinning
            for _ in range(ROUNDS):
                took: dict[PairSide, Turn] = {}
                for side in random.sample(SIDES, len(SIDES)):
                    took[side] = self._turn(lanes[side], timed.patience)
                    timed.disturbed += took[side].disturbed
                timed.rounds.append((_call_ns(took["base"]), _call_ns(took["head"])))
            for side in SIDES:
                lanes[side].ask(Drop(), Done, self.plan.step_timeout_s)
        except LaneFault as fault:
            broken = next((one for one, lane in lanes.items() if not lane.alive), side)
            for lane in lanes.values():
                lane.end()
            record = fault_record(self.setting(case, number), name, fault)
            return msgspec.structs.replace(record, side=broken)
        return None

    def _starting(self, lanes: Lanes, cell: Cell) -> Iterator[tuple[PairSide, Step]]:
        """Tell both lanes to prepare, then to call; yield each answer that is to be heard.

        Nothing is timed yet, so both may be at it at once.
        """
        injection = self.injection
        slowed_by = {"base": 0.0, "head": 0.0}
        if injection is not None and injection.cell == cell:
            slowed_by["head"] = injection.share
        for told in (
            {side: Prepare(cell[0], self.plan.seed, slowed_by[side]) for side in lanes},
            {side: FirstCall() for side in lanes},
        ):
            for side, step in told.items():
                lanes[side].tell(step)
            yield from told.items()

    def _turn(self, lane: Handle, patience: Patience) -> Turn:
        limit_s = self.plan.step_timeout_s
        return steady_turn(lambda: lane.ask(Slice(), Sampled, limit_s), self.gpu, patience)


def _call_ns(turn: Turn) -> float:
    """Return the median of one slice: what a call cost, in nanoseconds."""
    series: dict[SeriesName, list[tuple[int, list[int]]]] = {
        one.name: [(0, one.samples_ns)] for one in turn.sampled.series
    }
    ((_, samples_ns),) = series[cost(series)]
    return statistics.median(samples_ns) / turn.sampled.calls_per_sample

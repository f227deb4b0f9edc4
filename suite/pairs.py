"""Pairs: a base lane and a head lane alive side by side, timed slice by slice in random order.

One pair of fresh processes is one replicate; samples inside a process are not. Each side has a
compile cache of its own, filled before anything is measured.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

import msgspec

from suite.case import Case
from suite.crew import Crew
from suite.handle import Handle, LaneFault
from suite.machine import Policy
from suite.nvml import Absent, Gpu
from suite.outcome import agreement_record, fault_record, memory_record
from suite.protocol import (
    Check,
    Checked,
    Done,
    Drop,
    FirstCall,
    Foresee,
    Foreseen,
    Prepare,
    Sampled,
    Slice,
    Step,
    Weigh,
    Weighed,
)
from suite.record import SIDES, Fault, Pair, PairRecord, PairSide, Plan, Stage
from suite.run import RunFailed
from suite.series import SeriesName, cost
from suite.setting import Setting
from suite.sides import Side
from suite.steady import Patience, Turn, steady_turn
from suite.store import Store
from suite.watch import Watch

ROUNDS = 6
PATIENCE_S = 4.0
STAGES: tuple[Literal["before", "after"], ...] = ("before", "after")
NOT_ASKED = Absent("NVML is not asked in pairs")

Cell = tuple[Case, str]


@dataclass(frozen=True)
class Injection:
    """A slowdown of one cell on the head's side, as a share of its time, to see it found."""

    cell: Cell
    share: float


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
    gpu: Gpu | Absent
    injection: Injection | None = None

    def prime(self) -> list[Cell]:
        """Fill the caches, check and weigh both sides; return the cells that both sides agree in.

        A cell of the others has its reason in the store, and which side it is. Raises RunFailed
        when a side's lanes can't be started.
        """
        sound: list[Cell] = []
        for name in self.plan.variants:
            with self._crews(name) as crews:
                for case in self.plan.cases:
                    judged = [self._is_sound(side, crew, case, name) for side, crew in crews]
                    if judged == [True, True]:
                        sound.append((case, name))
        return sound

    def take(
        self, cells: Sequence[Cell], numbers: Sequence[int], stage: Stage | None
    ) -> list[Cell]:
        """Measure pairs of these numbers; return the cells that stayed whole.

        Without a stage it is a rehearsal, and nothing is kept.
        """
        alive = list(cells)
        for number in numbers:
            random = Random(f"{self.plan.seed} {stage} {number}")
            ended: list[PairRecord] = []
            names = list(dict.fromkeys(name for _, name in alive))
            for name in random.sample(names, len(names)):
                own = [case for case, variant in alive if variant == name]
                with self._crews(name) as crews:
                    for case in random.sample(own, len(own)):
                        record = self._pair(case, name, number, stage, crews, random)
                        ended.append(record)
                        if stage is not None:
                            self.store.append([record])
                        if not isinstance(record, Pair):
                            alive.remove((case, name))
            if stage is not None:
                self.watch.raced(f"{stage} stage, pair {number}", ended, len(ended))
        return alive

    @contextmanager
    def _crews(self, name: str) -> Iterator[list[tuple[PairSide, Crew]]]:
        """Start a fresh lane of a variant on each side that has it."""
        with ExitStack() as stack:
            crews: list[tuple[PairSide, Crew]] = []
            for side in SIDES:
                own = self._side(side)
                if name in own.variants:
                    crew = Crew(
                        own.variants, self.policy, self.caches[side], self.plan.device, own.launch
                    )
                    crews.append((side, stack.enter_context(crew)))
            for _, crew in crews:
                crew.begin([name])
            yield crews

    def _side(self, side: PairSide) -> Side:
        return self.base if side == "base" else self.head

    def _is_sound(self, side: PairSide, crew: Crew, case: Case, name: str) -> bool:
        """Foresee, prepare, check and weigh; record each with its side."""
        limit_s = self.plan.step_timeout_s
        setting = self._setting(case, 0)
        records: list[PairRecord] = []
        sound = True
        self.watch.step(case, name, f"priming {side}")
        try:
            (lane,) = crew.ready([name])
        except LaneFault as fault:
            raise RunFailed(f"the {side}'s lanes can't start: {fault.reason}") from fault
        try:
            lane.ask(Foresee(case), Foreseen, limit_s)
            lane.ask(Prepare(case, self.plan.seed), Done, limit_s)
            lane.ask(FirstCall(), Done, limit_s)
            for stage in STAGES:
                checked = lane.ask(Check(stage), Checked, limit_s)
                records.append(agreement_record(setting, name, stage, checked))
                sound = sound and checked.agrees
            weighed = lane.ask(Weigh(), Weighed, limit_s)
            records.append(memory_record(setting, name, weighed, NOT_ASKED))
            lane.ask(Drop(), Done, limit_s)
        except LaneFault as fault:
            records.append(fault_record(setting, name, fault))
            sound = False
        self.store.append(msgspec.structs.replace(record, side=side) for record in records)
        return sound

    def _pair(
        self,
        case: Case,
        name: str,
        number: int,
        stage: Stage | None,
        crews: Sequence[tuple[PairSide, Crew]],
        random: Random,
    ) -> PairRecord:
        """Return the pair's record, or the fault of the side that broke."""
        rounds: list[tuple[float, float]] = []
        disturbed = 0
        self.watch.step(case, name, f"pair {number}")
        lanes: dict[PairSide, Handle] = {}
        side: PairSide = "base"
        try:
            for side, crew in random.sample(crews, len(crews)):
                (lanes[side],) = crew.ready([name])
            for side, step in self._starting(lanes, (case, name)):
                lanes[side].hear(step, Done, self.plan.step_timeout_s)
            patience = Patience(PATIENCE_S)
            for _ in range(ROUNDS):
                took: dict[PairSide, Turn] = {}
                for side in random.sample(SIDES, len(SIDES)):
                    took[side] = self._turn(lanes[side], patience)
                    disturbed += took[side].disturbed
                rounds.append((_call_ns(took["base"]), _call_ns(took["head"])))
            for side in SIDES:
                lanes[side].ask(Drop(), Done, self.plan.step_timeout_s)
        except LaneFault as fault:
            broken = next((one for one, lane in lanes.items() if not lane.alive), side)
            for lane in lanes.values():
                lane.end()
            return self._fault(case, name, number, broken, fault)
        return Pair(case, name, number, stage or "first", tuple(rounds), disturbed)

    def _starting(
        self, lanes: dict[PairSide, Handle], cell: Cell
    ) -> Iterator[tuple[PairSide, Step]]:
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

    def _fault(self, case: Case, name: str, number: int, side: PairSide, fault: LaneFault) -> Fault:
        record = fault_record(self._setting(case, number), name, fault)
        return msgspec.structs.replace(record, side=side)

    def _turn(self, lane: Handle, patience: Patience) -> Turn:
        limit_s = self.plan.step_timeout_s
        return steady_turn(lambda: lane.ask(Slice(), Sampled, limit_s), self.gpu, patience)

    def _setting(self, case: Case, number: int) -> Setting:
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


def _call_ns(turn: Turn) -> float:
    """Return the median of one slice: what a call cost, in nanoseconds."""
    series: dict[SeriesName, list[tuple[int, list[int]]]] = {
        one.name: [(0, one.samples_ns)] for one in turn.sampled.series
    }
    ((_, samples_ns),) = series[cost(series)]
    return statistics.median(samples_ns) / turn.sampled.calls_per_sample

"""A contender: a variant in a race, which enters and takes turns (suite.race.leave has its end)."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from suite.clocks.series import SeriesName, cost
from suite.lanes.handle import Handle, LaneFault
from suite.lanes.protocol import Check, CheckResult, Done, Drop, FirstCall, KernelNames, Prepare
from suite.race.checks.outside_clock import check_claim, timed_turn
from suite.race.setting import Setting, agreement_record, fault_record, fresh_seed
from suite.race.steady_turn import Patience, Turn, steady_turn
from suite.race.stopping import FEW_ROUNDS, FEW_SAMPLES, reason_to_stop, thin
from suite.records.record import Agreement, Fault, Series, Time

PATIENCE_S = 3.0


@dataclass
class Contender:
    """A variant in the race: its lane, its start and first check, and its turns by series."""

    lane: Handle
    prepare_s: float
    first_call_s: float
    first_check: Agreement
    calls_per_sample: int = 0
    series: dict[SeriesName, list[tuple[int, list[int]]]] = field(default_factory=dict)
    retaken: int = 0
    throttled: int = 0
    disturbed: int = 0
    patience: Patience = field(default_factory=lambda: Patience(PATIENCE_S))
    clocks_mhz: list[int] = field(default_factory=list)
    slowed_by: set[str] = field(default_factory=set)
    steps: int = 0
    recompilations: int = 0
    stopped_by: str | None = None
    outside_ns: float | None = None

    @property
    def name(self) -> str:
        return self.lane.variant.name

    @property
    def turns(self) -> list[tuple[int, list[int]]]:
        """The turns of the series that says what a call costs: (round, nanoseconds)."""
        return self.series[cost(self.series)]

    @property
    def call_ns(self) -> float:
        """The median nanoseconds of a call by the lane's clock."""
        samples = [sample for _, samples in self.turns for sample in samples]
        return statistics.median(samples) / self.calls_per_sample

    def time_record(self, setting: Setting, profiled: KernelNames) -> Time:
        """Return the record of the turns so far, with at most 200 samples a series."""
        cost_series = cost(self.series)
        clocks = self.clocks_mhz
        return Time(
            case=setting.case,
            variant=self.name,
            pass_number=setting.pass_number,
            turns=thin(self.turns),
            calls_per_sample=self.calls_per_sample,
            taken=sum(len(samples) for _, samples in self.turns),
            stopped_by=self.stopped_by or "",
            prepare_s=self.prepare_s,
            first_call_s=self.first_call_s,
            cold=self.name in setting.cold,
            kernels=tuple(profiled.kernels),
            density=profiled.density,
            chose=profiled.chose,
            thread_pools=tuple(profiled.thread_pools),
            race=setting.race,
            cost=cost_series,
            others=tuple(
                Series(name, thin(turns))
                for name, turns in self.series.items()
                if name != cost_series
            ),
            retaken=self.retaken,
            throttled=self.throttled,
            disturbed=self.disturbed,
            sm_clock_mhz=(min(clocks), max(clocks)) if clocks else None,
            slowed_by=tuple(sorted(self.slowed_by)),
            steps=self.steps,
            recompilations=self.recompilations,
            outside_ns=self.outside_ns,
        )


def enter(setting: Setting, lane: Handle) -> Contender | Agreement | Fault:
    """Prepare a variant, call it once and check it before any timing.

    Returns the contender, or the record that ends its cell.
    """
    case, limit_s, name = setting.case, setting.step_timeout_s, lane.variant.name
    small = setting.evidence.small_checks.get((name, case.dtype))
    if small is not None and small.result is not None and not small.result.agrees:
        return agreement_record(setting, name, "small", small.result, small.seed)
    setting.watch.step(case, name, "prepare")
    try:
        preparing = lane.ask(Prepare(case, setting.inputs_seed), Done, limit_s)
        setting.watch.step(case, name, "first call")
        calling = lane.ask(FirstCall(), Done, limit_s)
        check = oracle_check(setting, lane, "before")
        if not check.agrees:
            lane.ask(Drop(), Done, limit_s)
            return check
        return Contender(lane, preparing.seconds, calling.seconds, check)
    except LaneFault as fault:
        return fault_record(setting, name, fault)


def oracle_check(setting: Setting, lane: Handle, stage: Literal["before", "after"]) -> Agreement:
    """Check a variant on inputs or rows that the lane can't know before."""
    seed = fresh_seed()
    result = lane.ask(Check(stage, seed), CheckResult, setting.step_timeout_s)
    return agreement_record(setting, lane.variant.name, stage, result, seed)


def take_turn(setting: Setting, contender: Contender, number: int) -> Fault | None:
    """Let a contender take its turn of round `number`; return its fault, if it has one.

    After its first turn its times are held against the parent's clock, so that a false clock
    does not cost a whole race.
    """
    setting.watch.step(setting.case, contender.name, f"round {number}")
    try:
        turn = steady_turn(
            lambda: timed_turn(contender.lane, setting.step_timeout_s),
            setting.gpu,
            contender.patience,
        )
        is_first = not contender.series
        _add(contender, number, turn)
        if is_first:
            contender.outside_ns = time_from_outside(setting, contender)
    except LaneFault as fault:
        return end_cell(setting, contender.lane, fault)
    return None


def stop_early(contenders: Sequence[Contender]) -> None:
    """Stop those that have the turns which a slow call needs: the budget has ended."""
    for contender in contenders:
        if contender.stopped_by is None and contender.series:
            samples = sum(len(samples) for _, samples in contender.turns)
            enough = len(contender.turns) >= FEW_ROUNDS and samples >= FEW_SAMPLES
            contender.stopped_by = "end of the budget" if enough else None


def end_cell(setting: Setting, lane: Handle, fault: LaneFault) -> Fault:
    """Return the record of a fault; a lane whose times can't be true is ended."""
    if fault.status == "implausible":
        lane.end()
    return fault_record(setting, lane.variant.name, fault)


def _add(contender: Contender, number: int, turn: Turn) -> None:
    """Add a turn's samples and counts, and stop the contender when it has enough samples."""
    for series in turn.samples.series:
        contender.series.setdefault(series.name, []).append((number, series.samples_ns))
    contender.calls_per_sample = turn.samples.calls_per_sample
    contender.retaken += turn.samples.retaken
    contender.throttled += turn.throttled
    contender.disturbed += turn.disturbed
    contender.clocks_mhz += turn.clocks_mhz
    contender.slowed_by.update(turn.slowed_by)
    contender.steps += turn.samples.steps
    contender.recompilations += turn.samples.recompilations
    if contender.stopped_by is None:
        per_call = contender.calls_per_sample * 1e9
        contender.stopped_by = reason_to_stop(
            [[sample / per_call for sample in samples] for _, samples in contender.turns],
            contender.calls_per_sample,
        )


def time_from_outside(setting: Setting, contender: Contender) -> float:
    """Return a call's time by the parent's clock. Raises LaneFault if the lane's is far from it."""
    claimed_ns = contender.call_ns
    steps_a_call = len(setting.case.kv_lens)
    lane, limit_s = contender.lane, setting.step_timeout_s
    is_upper = "call" not in contender.series or contender.disturbed > 0
    seen_ns = check_claim(lane, claimed_ns * steps_a_call, limit_s, is_upper=is_upper)
    return seen_ns / steps_a_call

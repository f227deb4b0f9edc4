"""A contender: a variant in a race, which enters, takes turns, and leaves with its records."""

import statistics
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from suite.clocks.series import DeviceRate, SeriesName, TurnSamples, cost
from suite.lanes.handle import Handle, LaneFault
from suite.lanes.protocol import (
    Check,
    CheckResult,
    DeviceRates,
    Done,
    Drop,
    EmptyCaches,
    FindLimits,
    FirstCall,
    KernelNames,
    NameKernels,
    Prepare,
    Replay,
    Weigh,
    WeighResult,
)
from suite.memory.driver_level import level_rise
from suite.race.plausibility import check_claim, check_rates, timed_turn
from suite.race.setting import (
    Setting,
    agreement_record,
    fault_record,
    fresh_seed,
    memory_record,
)
from suite.race.small_check import small_check
from suite.race.steady_turn import Patience, Turn, steady_turn
from suite.race.stopping import reason_to_stop, thin
from suite.records.record import Agreement, CellRecord, Fault, Memory, Series, Time

GRAPH_BELOW_NS = 50_000
"""Calls of less device time than this are also timed as replays of a CUDA graph."""

PATIENCE_S = 3.0
RATES_AGAIN = 2


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
            steps=self.steps,
            recompilations=self.recompilations,
            outside_ns=self.outside_ns,
        )


def enter(setting: Setting, lane: Handle) -> Contender | Agreement | Fault:
    """Prepare a variant, call it once and check it before any timing.

    Returns the contender, or the record that ends its cell.
    """
    case, limit_s, name = setting.case, setting.step_timeout_s, lane.variant.name
    small = setting.evidence.small_checks.get(name)
    if small is not None and small.result is not None and not small.result.agrees:
        return agreement_record(setting, name, "small", small.result, small.seed)
    setting.watch.step(case, name, "prepare")
    try:
        preparing = lane.ask(Prepare(case, setting.inputs_seed), Done, limit_s)
        setting.watch.step(case, name, "first call")
        calling = lane.ask(FirstCall(), Done, limit_s)
        check = _check(setting, lane, "before")
        if not check.agrees:
            lane.ask(Drop(), Done, limit_s)
            return check
        return Contender(lane, preparing.seconds, calling.seconds, check)
    except LaneFault as fault:
        return fault_record(setting, name, fault)


def _check(setting: Setting, lane: Handle, stage: Literal["before", "after"]) -> Agreement:
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
            contender.outside_ns = _outside_ns(setting, contender)
    except LaneFault as fault:
        return _end(setting, contender.lane, fault)
    return None


def _end(setting: Setting, lane: Handle, fault: LaneFault) -> Fault:
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
    contender.steps += turn.samples.steps
    contender.recompilations += turn.samples.recompilations
    if contender.stopped_by is None:
        per_call = contender.calls_per_sample * 1e9
        contender.stopped_by = reason_to_stop(
            [[sample / per_call for sample in samples] for _, samples in contender.turns],
            contender.calls_per_sample,
        )


def leave(setting: Setting, contender: Contender) -> list[CellRecord]:
    """Hold a contender's times against the parent's clock, weigh it, and check it again.

    Returns the cell's records. Memory and kernel names are recorded once a run, in the cell's cold
    race.
    """
    lane, limit_s = contender.lane, setting.step_timeout_s
    setting.watch.step(setting.case, contender.name, "check again")
    records: list[CellRecord] = [contender.first_check]
    profiled = KernelNames([])
    try:
        contender.outside_ns = _outside_ns(setting, contender)
        if contender.name in setting.cold:
            records.append(_weigh(setting, lane))
        records.append(_check(setting, lane, "after"))
        records += _small_agreement(setting, lane)
        if contender.name in setting.cold:
            profiled = _name_kernels(setting, lane)
        _check_rates(setting, contender)
        if lane.alive:
            _replay(setting, contender)
        if lane.alive:
            lane.ask(Drop(), Done, limit_s)
    except LaneFault as fault:
        records.append(_end(setting, lane, fault))
    records.append(contender.time_record(setting, profiled))
    return records


def _outside_ns(setting: Setting, contender: Contender) -> float:
    """Return a call's time by the parent's clock. Raises LaneFault if the lane's is far from it."""
    claimed_ns = _median_call_ns(contender)
    steps_a_call = len(setting.case.kv_lens)
    lane, limit_s = contender.lane, setting.step_timeout_s
    is_upper = "call" not in contender.series or contender.disturbed > 0
    seen_ns = check_claim(lane, claimed_ns * steps_a_call, limit_s, is_upper=is_upper)
    return seen_ns / steps_a_call


def _check_rates(setting: Setting, contender: Contender) -> None:
    """Raise LaneFault if a call's median time is less than the device needs for its work."""
    profiled = setting.evidence.profiled.get((setting.case, contender.name))
    if profiled is None or profiled.chose is not None:
        return  # what `auto` picked may leave pairs out; it is judged under its own name
    if profiled.leaves_out and profiled.density is None:
        return
    density = 1.0 if profiled.density is None else profiled.density
    call_ns, rates = _median_call_ns(contender), setting.evidence.rates
    for _ in range(RATES_AGAIN):
        with suppress(LaneFault):
            check_rates(setting.case, call_ns, density, rates)
            return
        setting.evidence.note_rates(_rates_now(setting, contender))
    check_rates(setting.case, call_ns, density, rates)


def _rates_now(setting: Setting, contender: Contender) -> Sequence[DeviceRate]:
    """Measure the device's rates again: it may have been slow when the pass began."""
    step = FindLimits(tuple(setting.evidence.rates))
    return contender.lane.ask(step, DeviceRates, setting.step_timeout_s).rates


def _median_call_ns(contender: Contender) -> float:
    samples = [sample for _, samples in contender.turns for sample in samples]
    return statistics.median(samples) / contender.calls_per_sample


def _small_agreement(setting: Setting, lane: Handle) -> list[Agreement]:
    """Check the small case, unless the run has done so already."""
    name = lane.variant.name
    if name in setting.evidence.small_checks:
        return []
    setting.watch.step(setting.case, name, "check a small case")
    small = setting.evidence.small_checks[name] = small_check(setting, lane)
    if small.result is None:
        return []
    return [agreement_record(setting, name, "small", small.result, small.seed)]


def _weigh(setting: Setting, lane: Handle) -> Memory:
    lane.ask(EmptyCaches(), Done, setting.step_timeout_s)
    with level_rise(setting.gpu, lane.process_id) as rise:
        weight = lane.ask(Weigh(), WeighResult, setting.step_timeout_s)
    return memory_record(setting, lane.variant.name, weight, rise())


def _name_kernels(setting: Setting, lane: Handle) -> KernelNames:
    """Name the kernels of a call. It comes after weighing and the check: a profiler may fail."""
    try:
        profiled = lane.ask(NameKernels(), KernelNames, setting.step_timeout_s)
    except LaneFault:
        return KernelNames([])
    setting.evidence.profiled[setting.case, lane.variant.name] = profiled
    return profiled


def _replay(setting: Setting, contender: Contender) -> None:
    """Time replays of a CUDA graph of a short call, as the series `graph`.

    A call that can't be captured gets no such series. Replays come last, because a failed capture
    leaves a process that must not be used any further.
    """
    device = contender.series.get("device")
    if not device or statistics.median(device[-1][1]) > GRAPH_BELOW_NS * contender.calls_per_sample:
        return
    try:
        samples = contender.lane.ask(Replay(), TurnSamples, setting.step_timeout_s)
    except LaneFault as fault:
        if fault.status == "disagrees":
            raise
        return
    for series in samples.series:
        contender.series[series.name] = [(device[-1][0], series.samples_ns)]

"""One variant in a race: how it enters, takes a turn, and leaves with its cell's records."""

import statistics
from contextlib import suppress
from dataclasses import dataclass, field

from suite.clocks.series import Sampled, SeriesName, cost
from suite.lanes.handle import Handle, LaneFault
from suite.lanes.protocol import (
    Check,
    Checked,
    Done,
    Drop,
    EmptyCaches,
    FirstCall,
    Named,
    NameKernels,
    Prepare,
    Replay,
    Slice,
    Weigh,
    Weighed,
)
from suite.memory.driver_level import level_rise
from suite.race.setting import Setting, agreement_record, fault_record, memory_record
from suite.race.steady_turn import Patience, Turn, steady_turn
from suite.race.stopping import reason_to_stop, thin
from suite.records.record import Agreement, CellRecord, Fault, Memory, Series, Time

GRAPH_BELOW_NS = 50_000
PATIENCE_S = 3.0


@dataclass
class Contender:
    """A variant in the race: its lane, how it started, and its turns so far by series."""

    lane: Handle
    prepare_s: float
    first_call_s: float
    first_check: Checked
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

    @property
    def name(self) -> str:
        return self.lane.variant.name

    @property
    def turns(self) -> list[tuple[int, list[int]]]:
        """The turns of the series that is the call's cost."""
        return self.series[cost(self.series)]

    def time_record(self, setting: Setting, named: Named) -> Time:
        """Return the turns so far, thinned, and how they came about."""
        chosen = cost(self.series)
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
            kernels=tuple(named.kernels),
            density=named.density,
            chose=named.chose,
            race=setting.race,
            cost=chosen,
            others=tuple(
                Series(name, thin(turns)) for name, turns in self.series.items() if name != chosen
            ),
            retaken=self.retaken,
            throttled=self.throttled,
            disturbed=self.disturbed,
            sm_clock_mhz=(min(clocks), max(clocks)) if clocks else None,
            steps=self.steps,
            recompilations=self.recompilations,
        )


def enter(setting: Setting, lane: Handle) -> Contender | Agreement | Fault:
    """Prepare, call and check a variant; return a contender, or the record that ends its cell."""
    case, limit_s = setting.case, setting.step_timeout_s
    setting.watch.step(case, lane.variant.name, "prepare")
    try:
        prepared = lane.ask(Prepare(case, setting.seed), Done, limit_s)
        setting.watch.step(case, lane.variant.name, "first call")
        called = lane.ask(FirstCall(), Done, limit_s)
        checked = lane.ask(Check("before"), Checked, limit_s)
        if not checked.agrees:
            lane.ask(Drop(), Done, limit_s)
            return agreement_record(setting, lane.variant.name, "before", checked)
        return Contender(lane, prepared.seconds, called.seconds, checked)
    except LaneFault as fault:
        return fault_record(setting, lane.variant.name, fault)


def take_turn(setting: Setting, contender: Contender, number: int) -> Fault | None:
    """Give a contender one slice of time in round `number`; return what went wrong, if it did."""
    setting.watch.step(setting.case, contender.name, f"round {number}")
    try:
        turn = steady_turn(
            lambda: contender.lane.ask(Slice(), Sampled, setting.step_timeout_s),
            setting.gpu,
            contender.patience,
        )
    except LaneFault as fault:
        return fault_record(setting, contender.name, fault)
    _keep(contender, number, turn)
    return None


def _keep(contender: Contender, number: int, turn: Turn) -> None:
    for one in turn.sampled.series:
        contender.series.setdefault(one.name, []).append((number, one.samples_ns))
    contender.calls_per_sample = turn.sampled.calls_per_sample
    contender.retaken += turn.sampled.retaken
    contender.throttled += turn.throttled
    contender.disturbed += turn.disturbed
    contender.clocks_mhz += turn.clocks_mhz
    contender.steps += turn.sampled.steps
    contender.recompilations += turn.sampled.recompilations
    if contender.stopped_by is None:
        per_call = contender.calls_per_sample * 1e9
        contender.stopped_by = reason_to_stop(
            [[sample / per_call for sample in samples] for _, samples in contender.turns],
            contender.calls_per_sample,
        )


def leave(setting: Setting, contender: Contender) -> list[CellRecord]:
    """Weigh and check once more, on fresh inputs, and return the cell's records."""
    lane, limit_s = contender.lane, setting.step_timeout_s
    setting.watch.step(setting.case, contender.name, "check again")
    records: list[CellRecord] = [
        agreement_record(setting, contender.name, "before", contender.first_check)
    ]
    named = Named([])
    try:
        if contender.name in setting.cold:
            records.append(_weigh(setting, lane))
        checked = lane.ask(Check("after"), Checked, limit_s)
        records.append(agreement_record(setting, contender.name, "after", checked))
        if contender.name in setting.cold:
            named = _name_kernels(setting, lane)
        if lane.alive:
            _replay(setting, contender)
        if lane.alive:
            lane.ask(Drop(), Done, limit_s)
    except LaneFault as fault:
        records.append(fault_record(setting, contender.name, fault))
    records.append(contender.time_record(setting, named))
    return records


def _weigh(setting: Setting, lane: Handle) -> Memory:
    lane.ask(EmptyCaches(), Done, setting.step_timeout_s)
    with level_rise(setting.gpu, lane.process_id) as risen:
        weighed = lane.ask(Weigh(), Weighed, setting.step_timeout_s)
    return memory_record(setting, lane.variant.name, weighed, risen())


def _name_kernels(setting: Setting, lane: Handle) -> Named:
    """Name the kernels of a call, once all that the cell needs is known: a profiler may fail."""
    with suppress(LaneFault):
        return lane.ask(NameKernels(), Named, setting.step_timeout_s)
    return Named([])


def _replay(setting: Setting, contender: Contender) -> None:
    """Time replays of a CUDA graph of a short call; one that can't be captured has no such series.

    It comes last, because a capture that fails leaves a process not to be used any further.
    """
    device = contender.series.get("device")
    if not device or statistics.median(device[-1][1]) > GRAPH_BELOW_NS * contender.calls_per_sample:
        return
    with suppress(LaneFault):
        sampled = contender.lane.ask(Replay(), Sampled, setting.step_timeout_s)
        for one in sampled.series:
            contender.series[one.name] = [(device[-1][0], one.samples_ns)]

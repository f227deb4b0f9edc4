"""One variant in a race: how it enters, takes a turn, and leaves with its cell's records."""

import math
from dataclasses import dataclass, field
from typing import Literal

from suite.case import Case
from suite.handle import Handle, LaneFault
from suite.nvml import Absent, Gpu, MemoryLevel, rise
from suite.protocol import (
    Check,
    Checked,
    Done,
    Drop,
    FirstCall,
    Named,
    NameKernels,
    Prepare,
    Sampled,
    Slice,
    Weigh,
    Weighed,
)
from suite.record import Agreement, CellRecord, Fault, Memory, Time
from suite.stopping import reason_to_stop, thinned
from suite.watch import Watch


@dataclass(frozen=True)
class Setting:
    """What holds for a whole race; `cold` names the variants whose compile cache is still empty."""

    case: Case
    pass_number: int
    race: int
    seed: int
    step_timeout_s: float
    cold: frozenset[str]
    watch: Watch
    gpu: Gpu | Absent


@dataclass
class Contender:
    """A variant in the race: its lane, how it started, and its turns so far."""

    lane: Handle
    prepare_s: float
    first_call_s: float
    first_check: Checked
    calls_per_sample: int = 0
    turns: list[tuple[int, list[int]]] = field(default_factory=list)
    stopped_by: str | None = None

    @property
    def name(self) -> str:
        return self.lane.variant.name


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
            return _agreement(setting, lane, "before", checked)
        return Contender(lane, prepared.seconds, called.seconds, checked)
    except LaneFault as fault:
        return _fault(setting, lane, fault)


def take_turn(setting: Setting, contender: Contender, number: int) -> Fault | None:
    """Give a contender one slice of time in round `number`; return what went wrong, if it did."""
    setting.watch.step(setting.case, contender.name, f"round {number}")
    step = Slice(contender.calls_per_sample)
    try:
        sampled = contender.lane.ask(step, Sampled, setting.step_timeout_s)
    except LaneFault as fault:
        return _fault(setting, contender.lane, fault)
    _keep(contender, number, sampled)
    return None


def _keep(contender: Contender, number: int, sampled: Sampled) -> None:
    contender.turns.append((number, sampled.samples_ns))
    contender.calls_per_sample = sampled.calls_per_sample
    if contender.stopped_by is None:
        per_call = sampled.calls_per_sample * 1e9
        contender.stopped_by = reason_to_stop(
            [[sample / per_call for sample in samples] for _, samples in contender.turns],
            sampled.calls_per_sample,
        )


def leave(setting: Setting, contender: Contender) -> list[CellRecord]:
    """Check once more, on fresh inputs, and return the cell's records."""
    lane, limit_s = contender.lane, setting.step_timeout_s
    setting.watch.step(setting.case, contender.name, "check again")
    records: list[CellRecord] = [_agreement(setting, lane, "before", contender.first_check)]
    kernels: list[str] = []
    try:
        if contender.name in setting.cold:
            with rise(setting.gpu) as risen:
                weighed = lane.ask(Weigh(), Weighed, limit_s)
            records.append(_memory(setting, lane, weighed, risen()))
        kernels = lane.ask(NameKernels(), Named, limit_s).kernels
        checked = lane.ask(Check("after"), Checked, limit_s)
        lane.ask(Drop(), Done, limit_s)
        records.append(_agreement(setting, lane, "after", checked))
    except LaneFault as fault:
        records.append(_fault(setting, lane, fault))
    records.append(
        Time(
            case=setting.case,
            variant=contender.name,
            pass_number=setting.pass_number,
            turns=thinned(contender.turns),
            calls_per_sample=contender.calls_per_sample,
            taken=sum(len(samples) for _, samples in contender.turns),
            stopped_by=contender.stopped_by or "",
            prepare_s=contender.prepare_s,
            first_call_s=contender.first_call_s,
            cold=contender.name in setting.cold,
            kernels=tuple(kernels),
            race=setting.race,
        )
    )
    return records


def _agreement(
    setting: Setting, lane: Handle, stage: Literal["before", "after"], checked: Checked
) -> Agreement:
    return Agreement(
        case=setting.case,
        variant=lane.variant.name,
        pass_number=setting.pass_number,
        stage=stage,
        agrees=checked.agrees,
        error=checked.error if math.isfinite(checked.error) else None,
        budget=checked.budget,
        where=checked.where,
    )


def _memory(
    setting: Setting, lane: Handle, weighed: Weighed, risen: MemoryLevel | Absent
) -> Memory:
    return Memory(
        case=setting.case,
        variant=lane.variant.name,
        pass_number=setting.pass_number,
        peak_bytes=weighed.peak_bytes,
        persistent_bytes=weighed.persistent_bytes,
        resident_bytes=weighed.resident_bytes,
        reserved_bytes=weighed.reserved_bytes,
        nvml_bytes=risen.bytes if isinstance(risen, MemoryLevel) else None,
        nvml=risen.reason if isinstance(risen, Absent) else f"rise of the {risen.scope}",
    )


def _fault(setting: Setting, lane: Handle, fault: LaneFault) -> Fault:
    return Fault(
        case=setting.case,
        variant=lane.variant.name,
        pass_number=setting.pass_number,
        status=fault.status,
        step=fault.step,
        reason=fault.reason,
    )

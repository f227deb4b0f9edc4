"""A contender leaves the race: its times are checked from outside, it is weighed, checked again."""

import statistics

from suite.clocks.series import TurnSamples
from suite.lanes.handle import Handle, LaneFault
from suite.lanes.protocol import (
    Done,
    Drop,
    EmptyCaches,
    KernelNames,
    NameKernels,
    Replay,
    Weigh,
    WeighResult,
)
from suite.memory.driver_level import level_rise
from suite.race.checks.rates import check_rates
from suite.race.checks.small_case import small_check
from suite.race.contender import Contender, end_cell, oracle_check, time_from_outside
from suite.race.setting import Setting, agreement_record, memory_record
from suite.records.record import Agreement, CellRecord, Memory

GRAPH_BELOW_NS = 50_000
"""Calls of less device time than this are also timed as replays of a CUDA graph."""


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
        contender.outside_ns = time_from_outside(setting, contender)
        if contender.name in setting.cold:
            records.append(_weigh(setting, lane))
        records.append(oracle_check(setting, lane, "after"))
        records += _small_agreement(setting, lane)
        if contender.name in setting.cold:
            profiled = _name_kernels(setting, lane)
        check_rates(setting, lane, contender.call_ns)
        if lane.alive:
            _replay(setting, contender)
        if lane.alive:
            lane.ask(Drop(), Done, limit_s)
    except LaneFault as fault:
        records.append(end_cell(setting, lane, fault))
    records.append(contender.time_record(setting, profiled))
    return records


def _small_agreement(setting: Setting, lane: Handle) -> list[Agreement]:
    """Check the small case, unless the run has done so already in this dtype."""
    name = lane.variant.name
    if (name, setting.case.dtype) in setting.evidence.small_checks:
        return []
    setting.watch.step(setting.case, name, "check a small case")
    small = small_check(setting, lane)
    setting.evidence.small_checks[name, setting.case.dtype] = small
    if small.result is None:
        return []
    return [agreement_record(setting, name, "small", small.result, small.seed)]


def _weigh(setting: Setting, lane: Handle) -> Memory:
    lane.ask(EmptyCaches(), Done, setting.step_timeout_s)
    with level_rise(setting.gpu, lane.process_id) as rise:
        weight = lane.ask(Weigh(), WeighResult, setting.step_timeout_s)
    return memory_record(setting, lane.variant.name, weight, rise())


def _name_kernels(setting: Setting, lane: Handle) -> KernelNames:
    """Name the kernels of a call, and the share of pairs that it computes.

    It comes after weighing and the check, because a profiler may fail. Then `check_rates` can't
    tell which work a call does.
    """
    try:
        profiled = lane.ask(NameKernels(), KernelNames, setting.step_timeout_s)
    except LaneFault as fault:
        setting.watch.note(
            f"{setting.case.id} {lane.variant.name}: no profile of a call ({fault.reason}), so its "
            "kernels are not named and its time is not held against what the device can do"
        )
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

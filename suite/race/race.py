"""The race of one case: its variants are prepared and checked, then timed in turns.

Turns come in rounds. A round visits the variants in random order, so a machine that slows down
slows all of them alike. A race is over when each median is known well enough
(suite/race/stopping.py), and a fault ends the cell of its variant alone.

All variants race together if their tensors fit in memory side by side. Otherwise the case is raced
in groups ("heats"), one after another. The baseline is in every group, because each variant is
compared with it round by round.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

from suite.clocks.cpu_clock import SLICE_NS
from suite.lanes.handle import Handle, LaneFault
from suite.lanes.pool import LanePool
from suite.lanes.protocol import Foresee, MemoryForecast
from suite.race.contender import Contender, enter, stop_early, take_turn
from suite.race.leave import leave
from suite.race.setting import Setting, fault_record
from suite.records.record import CellRecord, Fault
from variants.catalog import BASELINE

USABLE_SHARE = 0.9
"""The share of free memory that a group's forecasts may fill."""

REJOIN_EVERY = 4


def race(
    setting: Setting, pool: LanePool, names: Sequence[str], random: Random
) -> Iterator[list[CellRecord]]:
    """Race variants over one case, in groups that fit in memory; yield records as cells end.

    A variant that runs out of memory in a group races again with only the baseline beside it. If
    memory runs out there too, its cell ends as out_of_memory. Raises LaneFault when a lane can't
    start.
    """
    forecasts = _foresee(setting, pool.ready(names))
    for name, fault in forecasts.faults.items():
        yield [fault_record(setting, name, fault)]
    groups = side_by_side(forecasts.by_name)
    warm: frozenset[str] = frozenset()
    while groups:
        group = groups.pop(0)
        crowded_out: set[str] = set()
        group_setting = replace(setting, race=time.time_ns(), cold=setting.cold - warm)
        for records in _race_group(group_setting, pool.ready(group), random):
            loser = _out_of_memory(records) if len(group) > 2 else None
            if loser is None:
                yield records
            else:
                crowded_out.add(loser)
                groups.append(_with_baseline(loser, forecasts.by_name))
        warm |= frozenset(group) - crowded_out


class _Forecasts(NamedTuple):
    """What lanes foresee, and the faults of those that could not, by variant name."""

    by_name: dict[str, MemoryForecast]
    faults: dict[str, LaneFault]


def _foresee(setting: Setting, lanes: Sequence[Handle]) -> _Forecasts:
    """Let all lanes foresee at once: the first time torch imports its compiler, for seconds.

    What a run has foreseen is not computed again in a later pass.
    """
    forecasts, case, needed = _Forecasts({}, {}), setting.case, setting.evidence.needed_bytes
    for lane in lanes:
        name = lane.variant.name
        try:
            lane.tell(Foresee(case, needed.get((case, name))))
        except LaneFault as fault:
            forecasts.faults[name] = fault
    for lane in lanes:
        name = lane.variant.name
        if name in forecasts.faults:
            continue
        try:
            forecast = lane.hear(Foresee(case), MemoryForecast, setting.step_timeout_s)
        except LaneFault as fault:
            forecasts.faults[name] = fault
        else:
            forecasts.by_name[name] = forecast
            needed[case, name] = forecast.needed_bytes
    return forecasts


def side_by_side(forecasts: Mapping[str, MemoryForecast]) -> list[list[str]]:
    """Return groups of variants whose forecasts together fit in memory, the baseline in each.

    A variant without a forecast counts as large as the largest forecast.
    """
    if not forecasts:
        return []
    usable = USABLE_SHARE * min(forecast.free_bytes for forecast in forecasts.values())
    largest = max(
        (each.needed_bytes for each in forecasts.values() if each.needed_bytes is not None),
        default=0,
    )
    needs = {
        name: largest if forecast.needed_bytes is None else forecast.needed_bytes
        for name, forecast in forecasts.items()
    }
    baseline = {BASELINE.name: needs.pop(BASELINE.name)} if BASELINE.name in needs else {}
    groups: list[dict[str, int]] = [dict(baseline)]
    for name, need in needs.items():
        roomy = next((group for group in groups if sum(group.values()) + need <= usable), None)
        if roomy is None:
            groups.append(roomy := dict(baseline))
        roomy[name] = need
    return [list(group) for group in groups if group and (group != baseline or len(groups) == 1)]


def _with_baseline(name: str, forecasts: Mapping[str, MemoryForecast]) -> list[str]:
    """Return the group of one variant and the baseline, if the baseline can run."""
    return [member for member in dict.fromkeys((BASELINE.name, name)) if member in forecasts]


def _out_of_memory(records: Sequence[CellRecord]) -> str | None:
    """Return the variant whose cell ended because memory ran out, or None."""
    for record in records:
        if isinstance(record, Fault) and record.status == "out_of_memory":
            return record.variant
    return None


def _race_group(
    setting: Setting, lanes: Sequence[Handle], random: Random
) -> Iterator[list[CellRecord]]:
    """Race lanes side by side: all enter, all take turns, all leave; yield records as cells end.

    Lanes that have no time to enter have no records.
    """
    contenders: list[Contender] = []
    for lane in _in_order(setting, random.sample(lanes, len(lanes))):
        if contenders and not setting.deadlines.has_time_to_enter():
            break
        entry = enter(setting, lane)
        if isinstance(entry, Contender):
            contenders.append(entry)
        else:
            yield [entry]
    for fault in _take_turns(setting, contenders, random):
        yield [fault]
    for contender in contenders:
        yield leave(setting, contender)


def _in_order(setting: Setting, lanes: list[Handle]) -> list[Handle]:
    """Return lanes as they enter: under a budget the baseline first, those that compile last."""
    if setting.deadlines.are_far:
        return lanes
    return sorted(lanes, key=lambda lane: (lane.variant != BASELINE, lane.variant.builds))


def _take_turns(
    setting: Setting, contenders: list[Contender], random: Random
) -> Iterator[CellRecord]:
    """Visit contenders in rounds until all have enough samples; yield faults, and remove theirs."""
    number = 0
    while any(contender.stopped_by is None for contender in contenders):
        number += 1
        for contender in random.sample(contenders, len(contenders)):
            if not _joins(contender, number):
                continue
            fault = take_turn(setting, contender, number)
            if fault is not None:
                contenders.remove(contender)
                yield fault
        if not setting.deadlines.has_time_for_turns():
            stop_early(contenders)


def _joins(contender: Contender, number: int) -> bool:
    """Whether a contender takes a turn in round `number`.

    After it has enough samples, a contender's turns serve only as partners for the contenders
    still racing. The baseline joins every round. Others join every fourth, except slow ones, whose
    turns would take most of the race.
    """
    if contender.stopped_by is None or contender.name == BASELINE.name:
        return True
    last_turn_ns = sum(contender.turns[-1][1])
    return number % REJOIN_EVERY == 0 and last_turn_ns < 2 * SLICE_NS
